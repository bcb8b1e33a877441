import { scryptSync } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { FileError, UserError } from '../base/errors.ts';
import type { TunnelEnd, TunnelState, TunnelTask } from './tunnel-worker.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** A shorter secret can be guessed offline. */
const SHORTEST_SECRET = 16;
/** Time-out of the worker thread's first report. */
const START_MS = 30_000;

const hint = 'make one with: openssl rand -hex 32 > FILE && chmod 600 FILE';

/**
 * The shared secret of a run on several machines: the text of MIXBCT_RDZV_SECRET, or the content of the file
 * MIXBCT_RDZV_SECRET_FILE; undefined if neither is set.
 * @throws UserError if the secret is short, or others may read its file.
 */
export function rendezvousSecret(env: Environment): string | undefined {
  const file = env['MIXBCT_RDZV_SECRET_FILE'];
  const text = env['MIXBCT_RDZV_SECRET'] ?? (file === undefined ? undefined : readSecret(file));
  if (text !== undefined && text.trim().length < SHORTEST_SECRET)
    throw new UserError(
      `the rendezvous secret has ${text.trim().length} characters, at least ${SHORTEST_SECRET} are needed`,
      { hint },
    );
  return text?.trim();
}

function readSecret(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat?.isFile()) throw new FileError(file, 'no such file, a rendezvous secret was expected', hint);
  if ((stat.mode & 0o077) !== 0)
    throw new FileError(file, 'other users may read this rendezvous secret', `chmod 600 ${file}`);
  return readFileSync(file, 'utf8');
}

/**
 * One end of an encrypted connection between processes that share a secret. The `server` end forwards a connection to the port
 * `target` of this machine only after it has proved that it knows the secret. The `client` end forwards connections to its `port`
 * to the server. It runs in its own thread, also while this one waits.
 */
export class Tunnel implements Disposable {
  /** The port of this end. */
  readonly port: number;
  readonly #worker: Worker;

  private constructor(worker: Worker, port: number) {
    this.#worker = worker;
    this.port = port;
  }

  /** Waits until this end listens; a client also waits until the server has answered. @throws TunnelError otherwise */
  static open(
    end: Omit<TunnelEnd & { readonly side: 'server' }, 'key'> | Omit<TunnelEnd & { readonly side: 'client' }, 'key'>,
    secret: string,
  ): Tunnel {
    const ready = new Int32Array(new SharedArrayBuffer(4));
    const key = new Uint8Array(scryptSync(secret, 'mixbct rendezvous', 32));
    const { port1: reported, port2: reports } = new MessageChannel();
    const worker = new Worker(new URL('./tunnel-worker.js', import.meta.url), {
      workerData: { end: { ...end, key }, reports, ready } satisfies TunnelTask,
      transferList: [reports],
      execArgv: [],
    });
    worker.unref();
    Atomics.wait(ready, 0, 0, START_MS + (end.side === 'client' ? end.timeoutMs : 0));
    const state = receiveMessageOnPort(reported)?.message as TunnelState | undefined;
    reported.close();
    if (state && 'port' in state) return new Tunnel(worker, state.port);
    void worker.terminate();
    throw new TunnelError(state?.problem ?? 'unreachable', state?.detail ?? 'the thread did not start');
  }

  close(): void {
    void this.#worker.terminate();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A tunnel that cannot be opened: its port is `busy`, or the other end `refused` it or is `unreachable`. */
export class TunnelError extends Error {
  override readonly name = 'TunnelError';
  readonly problem: 'busy' | 'refused' | 'unreachable';
  constructor(problem: TunnelError['problem'], detail: string) {
    super(detail);
    this.problem = problem;
  }
}
