import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';

/** A file's text; null if it cannot be read. */
export function readTextOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** Id of the installed system, if it has one: host names repeat. */
export const machineId = (): string => readTextOrNull('/etc/machine-id')?.trim() ?? '';
/** Id of the machine's current boot. */
export const bootId = (): string => readTextOrNull('/proc/sys/kernel/random/boot_id')?.trim() ?? '';
/** The namespace that process ids belong to. */
export const pidNamespace = (): string => linkOf('/proc/self/ns/pid');

/** State and start of a process, from the fields after its name, which may hold anything; null if there is none. */
export function processStatus(pid: number): { readonly state: string; readonly start: string } | null {
  const fields = readTextOrNull(`/proc/${pid}/stat`)
    ?.replace(/^.*\) /s, '')
    .split(' ');
  return fields ? { state: fields[0]!, start: fields[19]! } : null;
}

/** Digest of what process ids are valid in: machine, boot and process namespace. 8 hexadecimal digits */
const whereIdsHold = (): string =>
  createHash('sha256').update([hostname(), machineId(), bootId(), pidNamespace()].join('\0')).digest('hex').slice(0, 8);

/** A unique temporary name beside `path`. It names the process that writes it. */
export const temporaryPath = (path: string): string =>
  `${path}.${whereIdsHold()}-${process.pid}-${processStatus(process.pid)?.start ?? ''}-${randomBytes(4).toString('hex')}.part`;

const TEMPORARY = /^\.([0-9a-f]{8})-(\d+)-(\d*)-[0-9a-f]{8}\.part$/;

/** Removes temporary files and folders beside `path` whose writers have ended. Those of other machines, containers and users stay. */
export function removeStaleTemporaries(path: string): void {
  const [folder, name] = [dirname(resolve(path)), basename(path)];
  for (const entry of readdirSync(folder)) {
    const [, where, pid, start] = (entry.startsWith(name) && TEMPORARY.exec(entry.slice(name.length))) || [];
    if (where !== whereIdsHold()) continue;
    const found = processStatus(Number(pid));
    if (found?.start === start) continue;
    try {
      rmSync(join(folder, entry), { recursive: true, force: true });
    } catch {
      // of another user
    }
  }
}
