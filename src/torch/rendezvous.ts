import { setupCommand } from '../base/addon.ts';
import { messageOf, optionHint, UserError } from '../base/errors.ts';
import { sleepSync } from '../base/sleep.ts';
import { C10dProcessGroup, PeerLost, Store } from './distributed.ts';
import { buildInfo } from './runtime.ts';
import { scope } from './scope.ts';
import { tensor, toNumbers, toUint8 } from './tensor.ts';
import { rendezvousSecret, Tunnel, TunnelError } from './tunnel.ts';
import { RENDEZVOUS_FILE } from './variables.ts';

const LOOPBACK = '127.0.0.1';
const isLoopback = (address: string): boolean => /^(localhost$|127\.|::1$)/.test(address);

type Environment = Readonly<Record<string, string | undefined>>;

/** Rank and addresses of a process, from torchrun's variables. */
export type RankInfo = {
  readonly rank: number;
  readonly processes: number;
  /** Rank among the processes of this machine. */
  readonly localRank: number;
  /** Address of rank 0. */
  readonly address: string;
  readonly port: number;
  /** A file in a private folder. Processes of one machine meet there instead, and no port is opened. */
  readonly file?: string;
};

const hint = 'start the processes with mixbct launch or torchrun, or set the variables as docs/cluster.md shows';

/**
 * Reads RANK, WORLD_SIZE, LOCAL_RANK, and MASTER_ADDR and MASTER_PORT or MIXBCT_RDZV_FILE; null for a single process.
 * @throws UserError naming the variable that is missing or invalid.
 */
export function rankInfoOf(env: Environment): RankInfo | null {
  const whole = (name: string, fallback?: number): number => {
    const text = env[name];
    if (text === undefined && fallback !== undefined) return fallback;
    if (text === undefined) throw new UserError(`WORLD_SIZE is ${env['WORLD_SIZE']}, but ${name} is not set`, { hint });
    if (!/^\d+$/.test(text)) throw new UserError(`${name}=${text}: wanted a whole number`, { hint });
    return Number(text);
  };
  if (env['WORLD_SIZE'] === undefined) return null;
  const processes = whole('WORLD_SIZE');
  if (processes < 1) throw new UserError('WORLD_SIZE=0: wanted at least one process', { hint });
  if (processes === 1) return null;
  const rank = whole('RANK');
  if (rank >= processes)
    throw new UserError(`RANK=${rank} with WORLD_SIZE=${processes}: ranks go from 0 to ${processes - 1}`, { hint });
  const localRank = whole('LOCAL_RANK', rank);
  const file = env[RENDEZVOUS_FILE];
  if (file !== undefined) return { rank, processes, localRank, address: LOOPBACK, port: 0, file };
  const address = env['MASTER_ADDR'];
  if (!address) throw new UserError(`WORLD_SIZE is ${processes}, but MASTER_ADDR is not set`, { hint });
  const port = whole('MASTER_PORT');
  if (port < 1 || port > 65_535)
    throw new UserError(`MASTER_PORT=${port}: wanted a port between 1 and 65535`, { hint });
  return { rank, processes, localRank, address, port };
}

export type JoinOptions = {
  /** How long to wait for the others to join. */
  readonly joinTimeoutMs?: number;
  /** Time-out of a collective. */
  readonly timeoutMs?: number;
  readonly env?: Environment;
  /** Use NCCL for CUDA tensors, on the device of the local rank. */
  readonly cuda?: boolean;
};

/** Nodes of a cluster start minutes apart. */
const JOIN_TIMEOUT_MS = 300_000;
/** Rank 0 may write a large checkpoint while the others wait in a collective. */
const TIMEOUT_MS = 1_800_000;
/** Interval of checks for missing ranks. */
const POLL_MS = 20;
/** How long a failing process keeps serving the store, so that the others can read why. */
const LINGER_MS = 300;

/** The connected processes of a run. */
export class DistributedContext {
  readonly group: C10dProcessGroup;
  readonly #store: Store;
  readonly #close: () => void;
  #comparisons = 0;

  constructor(group: C10dProcessGroup, { store, close }: OpenStore) {
    this.group = group;
    this.#store = store;
    this.#close = close;
  }

  /** Calls `body` on rank 0 alone. Every process gets its result, which must be JSON. @throws PeerLost on other ranks if it throws */
  broadcastFromRankZero<T>(body: () => T): T {
    if (this.group.rank === 0) {
      let result: T;
      try {
        result = body();
      } catch (error) {
        this.#broadcastJson({ error: messageOf(error) });
        throw error;
      }
      this.#broadcastJson({ result });
      return result;
    }
    const received = this.#receiveJson() as { readonly result: T; readonly error?: string };
    if (received.error !== undefined) throw new PeerLost(`process 0 stopped: ${received.error}`);
    return received.result;
  }

  #broadcastJson(value: unknown): void {
    scope(() => {
      const bytes = Buffer.from(JSON.stringify(value));
      this.group.broadcast(tensor([bytes.length], { dtype: 'int64' })).wait();
      this.group.broadcast(tensor(new Uint8Array(bytes))).wait();
    });
  }

  #receiveJson(): unknown {
    return scope(() => {
      const length = tensor([0], { dtype: 'int64' });
      this.group.broadcast(length).wait();
      const bytes = tensor(new Uint8Array(toNumbers(length)[0]!));
      this.group.broadcast(bytes).wait();
      return JSON.parse(Buffer.from(toUint8(bytes)).toString());
    });
  }

  /** @throws UserError in every process, naming what differs, unless all pass the same values. */
  requireEqual(values: Readonly<Record<string, string>>): void {
    const { rank, processes } = this.group;
    const round = `equal/${this.#comparisons++}`;
    this.#store.set(`${round}/${rank}`, JSON.stringify(values));
    const all = Array.from(
      { length: processes },
      (_, other) => JSON.parse(this.#store.get(`${round}/${other}`)) as Record<string, string>,
    );
    for (const [other, theirs] of all.entries())
      for (const [what, value] of Object.entries(theirs))
        if (value !== all[0]![what]) {
          if (rank === 0) sleepSync(LINGER_MS);
          throw new UserError(`process ${other} has another ${what} than process 0 (${value}, ${all[0]![what]})`, {
            hint: [`start every process with the same ${what}`, optionHint('give all the same --set')],
          });
        }
  }

  /** Waits for the others, then closes connections and port. */
  leave(): void {
    this.group.barrier().wait();
    this.group.close();
    this.#close();
  }
}

/**
 * Joins the process group of the run at the address and port of rank 0.
 * @throws UserError if the port is busy, the address is unreachable, or the processes do not fit together.
 */
export function joinProcessGroup(rankInfo: RankInfo, options: JoinOptions = {}): DistributedContext {
  const { joinTimeoutMs = JOIN_TIMEOUT_MS, timeoutMs = TIMEOUT_MS, env = process.env, cuda = false } = options;
  const { rank, processes, localRank, address } = rankInfo;
  const opened = openStore(rankInfo, { timeoutMs: joinTimeoutMs, env });
  awaitAllRanks(opened.store, rankInfo, joinTimeoutMs);
  const group = new C10dProcessGroup(opened.store.prefixed('group'), {
    rank,
    processes,
    timeoutMs,
    networkInterface: env['GLOO_SOCKET_IFNAME'],
    host: isLoopback(address) ? address : undefined,
    cudaDevice: cuda ? localRank : undefined,
  });
  return new DistributedContext(group, opened);
}

/** @throws UserError for a libtorch that opens a store's port on all network interfaces, where anyone can change its content. */
export function requireLoopbackStore(libtorch: string): void {
  if (!libtorch.startsWith('1.')) return;
  throw new UserError(`libtorch ${libtorch} opens its rendezvous port on all network interfaces, without a secret`, {
    hint: [
      'on one machine start the processes with mixbct launch --nproc N, without --master-port: they meet in a file',
      `build with libtorch 2 (MIXBCT_LIBTORCH=wheel ${setupCommand})`,
    ],
  });
}

/** The rendezvous store and its clean-up. */
type OpenStore = { readonly store: Store; readonly close: () => void };
type StoreOptions = { readonly timeoutMs: number; readonly env: Environment };

/**
 * On one machine: a file in a private folder, or a port on loopback. On several: a connection must first prove that it knows the
 * run's secret. Under torchrun, its agent may serve the store.
 */
function openStore(rankInfo: RankInfo, { timeoutMs, env }: StoreOptions): OpenStore {
  const { rank, processes, address, port, file } = rankInfo;
  const closing = (store: Store, more: () => void = () => undefined): OpenStore => {
    // under torchrun each restart has names of its own
    const prefixed = store.prefixed(`mixbct/${env['TORCHELASTIC_RESTART_COUNT'] ?? 0}`);
    const close = (): void => {
      prefixed.close();
      store.close();
      more();
    };
    return { store: prefixed, close };
  };
  if (file !== undefined) return closing(Store.file(file, { processes, timeoutMs }));
  const agent = env['TORCHELASTIC_USE_AGENT_STORE'] === 'True';
  const isServer = rank === 0 && !agent;
  const secret = agent ? undefined : rendezvousSecret(env);
  if (isServer) requireLoopbackStore(buildInfo().libtorch);
  if (secret === undefined) {
    if (!agent && !isLoopback(address))
      throw new UserError(`MASTER_ADDR is ${address}, and there is no secret by which the processes know each other`, {
        hint: 'set MIXBCT_RDZV_SECRET_FILE to a file that every machine has (docs/cluster.md); on one machine set MASTER_ADDR=127.0.0.1',
      });
    return closing(
      connectStore(rankInfo, () => Store.tcp(address, port, { isServer, timeoutMs, loopback: true }), timeoutMs),
    );
  }
  return connectStore(
    rankInfo,
    () => {
      if (!isServer) {
        const tunnel = Tunnel.open({ side: 'client', host: address, port, timeoutMs }, secret);
        return closing(Store.tcp(LOOPBACK, tunnel.port, { isServer, timeoutMs, loopback: true }), () => tunnel.close());
      }
      const store = Store.tcp(LOOPBACK, 0, { isServer, timeoutMs, loopback: true });
      const tunnel = Tunnel.open({ side: 'server', host: address, port, target: store.port }, secret);
      return closing(store, () => tunnel.close());
    },
    timeoutMs,
  );
}

/** @throws UserError that names the user's variables if `open` fails. */
function connectStore<T>({ rank, address, port }: RankInfo, open: () => T, timeoutMs: number): T {
  try {
    return open();
  } catch (error) {
    const problem = messageOf(error);
    const reason = error instanceof TunnelError ? error.problem : undefined;
    if (error instanceof UserError) throw error;
    if (reason === 'busy' || /in use|EADDRINUSE/i.test(problem))
      throw new UserError(`port ${port} is busy on this machine, which is to be MASTER_ADDR ${address}`, {
        hint: 'another run may use it: choose another MASTER_PORT (mixbct launch --master-port)',
        cause: error,
      });
    if (reason === 'refused')
      throw new UserError(`process ${rank} was refused at ${address}:${port}: the secrets differ`, {
        hint: 'give every process the same MIXBCT_RDZV_SECRET_FILE, and no other program that port',
        cause: error,
      });
    throw new UserError(`process ${rank} cannot reach process 0 at ${address}:${port} within ${timeoutMs / 1000} s`, {
      hint: 'is process 0 running, and are MASTER_ADDR and MASTER_PORT those of its machine?',
      cause: error,
    });
  }
}

/** Waits until every rank has joined once. A process that finds a mismatch tells the others, which fail with the same error. */
function awaitAllRanks(store: Store, { rank, processes }: RankInfo, timeoutMs: number): void {
  const fail = (problem: string, advice: string): never => {
    if (rank === 0) sleepSync(LINGER_MS); // it serves the store
    throw new UserError(problem, { hint: advice });
  };
  const refuse = (problem: string, advice: string): never => {
    store.set('refused', `${problem}\n${advice}`);
    return fail(problem, advice);
  };
  if (store.add('askers', 1) === 1) store.set('processes', String(processes));
  const others = store.get('processes');
  if (others !== String(processes))
    refuse(
      `WORLD_SIZE is ${processes} in process ${rank} and ${others} in another of the same run`,
      'start every process with the same number of processes',
    );
  if (store.add(`arrivals/${rank}`, 1) > 1)
    refuse(`two processes of one run both have RANK ${rank}`, 'give each process a rank of its own');
  store.set(`here/${rank}`, '');
  const deadline = performance.now() + timeoutMs;
  let missing = Array.from({ length: processes }, (_, other) => other);
  for (;;) {
    missing = missing.filter((other) => !store.has(`here/${other}`));
    if (store.has('refused')) {
      const [problem, advice] = store.get('refused').split('\n') as [string, string];
      fail(problem, advice);
    }
    if (missing.length === 0) return;
    if (performance.now() > deadline)
      refuse(
        `${missing.length} of ${processes} processes did not come within ${timeoutMs / 1000} s: rank ${missing.join(', ')}`,
        'were all of them started, with the same MASTER_ADDR and MASTER_PORT, and not more than WORLD_SIZE says?',
      );
    sleepSync(POLL_MS);
  }
}
