import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';

/** The own end of a socket. */
export type Endpoint = { readonly address: string; readonly port: number };

/** Where a process listens, from the kernel's tables. */
export const listeners = (pid: number): Endpoint[] => endpoints(pid, LISTEN);
/** Where its connections end on its side. */
export const connections = (pid: number): Endpoint[] => endpoints(pid, ESTABLISHED);

function endpoints(pid: number, wanted: string): Endpoint[] {
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`).match(/^socket:\[(\d+)\]$/)?.[1] ?? [];
      } catch {
        return []; // closed meanwhile
      }
    }),
  );
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , state, , , , , , inode]) => state === wanted && inodes.has(inode!))
      .map(([, local]) => {
        const [address, port] = local!.split(':') as [string, string];
        return { address: addressOf(address), port: Number.parseInt(port, 16) };
      }),
  );
}

const [ESTABLISHED, LISTEN] = ['01', '0A'];

/** IPv4 is stored as one little-endian word; of IPv6 only the unspecified address matters here. */
const addressOf = (hex: string): string =>
  hex.length === 8 ? [...Buffer.from(hex, 'hex').reverse()].join('.') : /^0+$/.test(hex) ? '::' : hex;

/** A stranger: connects, sends nothing, a few bytes, a web request or a lot of noise, and goes. */
export function pester(port: number, i: number): Promise<void> {
  const words = ['', 'GET / HTTP/1.1\r\n\r\n', randomBytes(1 + (i % 7)), randomBytes(4096), Buffer.alloc(64, 0xff)];
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => socket.end(words[i % words.length]!));
    socket.setTimeout(500, () => socket.destroy());
    socket.on('error', () => undefined).on('close', () => done());
    socket.resume();
  });
}
