import { createServer, type Socket } from 'node:net';
import type { PGlite } from '@electric-sql/pglite';

export type PostgresSockets = AsyncDisposable & { readonly port: number };

/**
 * Serves a PGlite over TCP on this machine. It is one session for all connections: each has it to itself from its first message until the
 * answer says that no transaction is open. What a connection leaves open that is lost is rolled back. (The package
 * @electric-sql/pglite-socket gives turns by message, and waits forever for a client that was killed while its BEGIN ran.)
 */
export async function servePostgres(database: PGlite, port: number): Promise<PostgresSockets> {
  const sockets = new Set<Socket>();
  let last: Promise<void> = Promise.resolve();
  const turn = async (): Promise<() => void> => {
    const before = last;
    let release = (): void => {};
    last = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    return release;
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true).on('error', () => {}); // a client that was killed
    void serve(socket, database, turn).finally(() => sockets.delete(socket.destroy()));
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  const address = server.address() as { readonly port: number };
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
      await last;
    },
  };
}

const [TERMINATE, READY, IDLE] = ['X', 'Z', 'I'].map((letter) => letter.charCodeAt(0)) as [number, number, number];
/** Requests for encryption come before the first message, which has no letter. */
const ENCRYPTION = [80_877_103, 80_877_104];

async function serve(socket: Socket, database: PGlite, turn: () => Promise<() => void>): Promise<void> {
  let release: (() => void) | null = null;
  try {
    for await (const message of messagesOf(socket)) {
      if (message[0] === TERMINATE) break;
      release ??= await turn();
      const answer = await database.execProtocolRaw(message);
      socket.write(answer);
      if (!isIdle(answer)) continue;
      release();
      release = null;
    }
  } catch {
    // the client is gone
  } finally {
    if (release) {
      await database.execProtocolRaw(messageOf('S', ''));
      await database.execProtocolRaw(messageOf('Q', 'ROLLBACK\0'));
      release();
    }
  }
}

/** The messages of a client, each whole. */
async function* messagesOf(socket: Socket): AsyncGenerator<Uint8Array> {
  let [waiting, started] = [Buffer.alloc(0), false];
  for await (const chunk of socket) {
    waiting = Buffer.concat([waiting, chunk as Buffer]);
    for (;;) {
      const letters = started ? 1 : 0;
      if (waiting.length < letters + 8 && !(started && waiting.length >= 5)) break;
      const size = letters + waiting.readInt32BE(letters);
      if (waiting.length < size) break;
      const message = waiting.subarray(0, size);
      waiting = waiting.subarray(size);
      if (!started && ENCRYPTION.includes(message.readInt32BE(4))) socket.write('N');
      else {
        started = true;
        yield Uint8Array.from(message);
      }
    }
  }
}

/** Whether an answer ends with the message that no transaction is open. */
function isIdle(answer: Uint8Array): boolean {
  const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength);
  let idle = false;
  for (let at = 0; at + 5 <= answer.length; at += 1 + view.getInt32(at + 1)) idle = answer[at] === READY && answer[at + 5] === IDLE; // biome-ignore format: short
  return idle;
}

function messageOf(letter: string, text: string): Uint8Array {
  const message = Buffer.alloc(5 + text.length);
  message.write(letter);
  message.writeInt32BE(4 + text.length, 1);
  message.write(text, 5);
  return message;
}
