import { codeOf, messageOf, PeerLost } from '../base/errors.ts';
import { type BucketsHandle, type GroupHandle, native, type StoreHandle, type WorkHandle } from './native.ts';
import { clone, contiguous, narrow, reshape, transpose } from './ops.ts';
import { scope } from './scope.ts';
import type { Tensor } from './tensor-types.ts';

export { PeerLost };

/** What a refusal of c10d says about the other processes. */
const LOST = /connection (closed|reset|was)|broken pipe|timed out|timeout|socket|peer|aborted/i;

/** Runs what may call c10d. @throws PeerLost if it failed because of another process. */
export function withPeerErrors<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (codeOf(error) === 'TORCH' && LOST.test(messageOf(error)))
      throw new PeerLost(`${what}: another process is gone or does not answer`, { cause: error });
    throw error;
  }
}

/** Short texts that processes leave for each other. Reading waits for the key, as long as the store's time-out. */
export class Store {
  readonly handle: StoreHandle;

  private constructor(handle: StoreHandle) {
    this.handle = handle;
  }

  /**
   * On a TCP port, which one of the processes (`isServer`) opens and serves from a thread of its own: on all network
   * interfaces, or with `loopback` to this machine alone (from libtorch 2 on). Port 0 is any free one.
   */
  static tcp(
    host: string,
    port: number,
    {
      isServer,
      timeoutMs,
      loopback,
    }: { readonly isServer: boolean; readonly timeoutMs: number; readonly loopback: boolean },
  ): Store {
    return new Store(native.tcpStore(host, port, isServer, timeoutMs, loopback));
  }

  /** In a file that all processes reach; the last one to leave removes it. */
  static file(
    path: string,
    { processes, timeoutMs }: { readonly processes: number; readonly timeoutMs: number },
  ): Store {
    return new Store(native.fileStore(path, processes, timeoutMs));
  }

  /** The same store; keys get a prefix. */
  prefixed(prefix: string): Store {
    return new Store(native.prefixStore(this.handle, prefix));
  }
  set(key: string, value: string): void {
    withPeerErrors(`storing ${key}`, () => native.storeSet(this.handle, key, value));
  }
  get(key: string): string {
    return withPeerErrors(`waiting for ${key}`, () => native.storeGet(this.handle, key));
  }
  /** Adds to a number that starts at 0, and returns the sum. */
  add(key: string, amount: number): number {
    return withPeerErrors(`adding to ${key}`, () => native.storeAdd(this.handle, key, amount));
  }
  /** Of a store on TCP. */
  get port(): number {
    return native.storePort(this.handle);
  }
  has(key: string): boolean {
    return withPeerErrors(`looking for ${key}`, () => native.storeHas(this.handle, key));
  }
  close(): void {
    native.storeClose(this.handle);
  }
}

/** A collective under way. Its tensors must not be touched before `wait` returns. */
export class PendingCollective {
  readonly #handle: WorkHandle;
  readonly #what: string;

  constructor(what: string, handle: WorkHandle) {
    this.#what = what;
    this.#handle = handle;
  }

  /** Blocks until it is done; a second call returns at once. @throws PeerLost if another process has gone. */
  wait(): void {
    withPeerErrors(this.#what, () => native.workWait(this.#handle));
  }
  get done(): boolean {
    return native.workDone(this.#handle);
  }
}

/**
 * The processes of one run as a head, a layer or a method sees them: what each computes from its share of the batch, made one.
 * Every process must call the same functions in the same order.
 *
 * Gradients follow one convention: those of parameters that every process holds are averaged over the processes after
 * backward, those of parameters that only one holds (a shard of the classes) are left as they are.
 */
export interface ProcessGroup {
  /** W */
  readonly processes: number;
  readonly rank: number;
  /** Largest values, element by element. No gradient. */
  max(x: Tensor): Tensor;
  /** Sum, element by element. Its gradient is made for averaging: each process gets the sum of all gradients. */
  sum(x: Tensor): Tensor;
  /** The same for what a process computes from its own shard of the parameters: each gets the mean of all gradients. */
  sumOfShards(x: Tensor): Tensor;
  /**
   * Rows of all processes, in the order of the batch that one process alone would have: row i of process r is row
   * i·W + r. [b, …] → [W·b, …]. Its gradient is for losses that every process computes whole, and made for averaging (2.9).
   */
  gather(rows: Tensor): Tensor;
}

/** One process: everything is its own already. */
export const singleProcess: ProcessGroup = {
  processes: 1,
  rank: 0,
  max: (x) => x,
  sum: (x) => x,
  sumOfShards: (x) => x,
  gather: (rows) => rows,
};

export type ProcessGroupOptions = {
  readonly rank: number;
  readonly processes: number;
  /** How long a collective may take before the others count as lost. */
  readonly timeoutMs: number;
  /** Network interface to speak over; or the own address. By default what this machine's name stands for. */
  readonly networkInterface?: string | undefined;
  readonly host?: string | undefined;
  /** CUDA device of this process: its tensors are exchanged over NCCL, those of the CPU over Gloo as ever. */
  readonly cudaDevice?: number | undefined;
};

/** Whether this addon can make groups that speak over NCCL. */
export const hasNccl = (): boolean => native.hasNccl();

/** Processes that do collectives with each other, over c10d (Gloo or NCCL). */
export class C10dProcessGroup implements ProcessGroup {
  readonly rank: number;
  readonly processes: number;
  readonly #cpu: GroupHandle;
  readonly #cuda: GroupHandle | null;

  /** Waits until all `processes` have come. @throws PeerLost if they have not in time. */
  constructor(
    store: Store,
    { rank, processes, timeoutMs, networkInterface = '', host = '', cudaDevice }: ProcessGroupOptions,
  ) {
    this.rank = rank;
    this.processes = processes;
    const settings = [rank, processes, timeoutMs] as const;
    this.#cpu = withPeerErrors('connecting the processes', () =>
      native.glooGroup(store.prefixed('gloo').handle, ...settings, networkInterface, host),
    );
    this.#cuda =
      cudaDevice === undefined ? null : native.ncclGroup(store.prefixed('nccl').handle, ...settings, cudaDevice);
  }

  /** The group that reaches where the tensor is. */
  #of(x: Tensor): GroupHandle {
    if (!x.device.startsWith('cuda')) return this.#cpu;
    if (!this.#cuda) throw new Error(`a tensor on ${x.device}, but this group was made without a CUDA device`);
    return this.#cuda;
  }

  /** In place, element by element over the processes; the tensor must be contiguous, as for all of these. */
  allReduce(x: Tensor, how: 'sum' | 'max' | 'min' = 'sum'): PendingCollective {
    return new PendingCollective('all-reduce', native.startAllReduce(this.#of(x), x, how));
  }
  /** In place: everyone gets what process `from` has. */
  broadcast(x: Tensor, from = 0): PendingCollective {
    return new PendingCollective('broadcast', native.startBroadcast(this.#of(x), x, from));
  }
  /** `into` [W, …] gets `own` […] of every process. */
  allGather(into: Tensor, own: Tensor): PendingCollective {
    return new PendingCollective('all-gather', native.startAllGather(this.#of(own), into, own));
  }
  send(x: Tensor, to: number): PendingCollective {
    return new PendingCollective('send', native.startSend(this.#of(x), x, to));
  }
  receive(x: Tensor, from: number): PendingCollective {
    return new PendingCollective('receive', native.startReceive(this.#of(x), x, from));
  }
  barrier(): PendingCollective {
    return new PendingCollective('barrier', native.startBarrier(this.#cpu));
  }
  /**
   * The own slice of the sum over the processes: [W·b, …] → [b, …]. Gloo of libtorch 1.13 has no such collective, so it is an
   * all-reduce of which a slice is kept, twice the bytes.
   */
  reduceScatter(x: Tensor): Tensor {
    const each = x.shape[0]! / this.processes;
    if (!Number.isInteger(each))
      throw new TypeError(`reduceScatter: ${x.shape[0]} rows do not divide among ${this.processes} processes`);
    return scope(() => {
      const all = clone(x);
      this.allReduce(all).wait();
      return clone(narrow(all, 0, this.rank * each, each));
    });
  }

  max(x: Tensor): Tensor {
    return scope(() => {
      const most = contiguous(clone(x));
      this.allReduce(most, 'max').wait();
      return most;
    });
  }
  sum(x: Tensor): Tensor {
    return withPeerErrors('sum', () => native.sumAcross(this.#of(x), x, 1));
  }
  sumOfShards(x: Tensor): Tensor {
    return withPeerErrors('sum', () => native.sumAcross(this.#of(x), x, 1 / this.processes));
  }
  gather(rows: Tensor): Tensor {
    return scope(() => {
      const [each, ...rest] = rows.shape as [number, ...number[]];
      const all = withPeerErrors('gather', () => native.gatherAcross(this.#of(rows), rows, this.processes)); // [W, b, …]
      return reshape(transpose(all, 0, 1), [each * this.processes, ...rest]);
    });
  }

  /** See `GradientBuckets`. */
  buckets(parameters: readonly Tensor[], options: BucketOptions = {}): GradientBuckets {
    const [first] = parameters;
    if (!first) throw new TypeError('buckets: wanted at least one parameter');
    return new GradientBuckets(this.#of(first), parameters, options);
  }

  /** Frees the connections. All processes must be through with them. */
  close(): void {
    native.groupClose(this.#cpu);
    if (this.#cuda) native.groupClose(this.#cuda);
  }
}

export type BucketOptions = {
  readonly bucketBytes?: number;
  /** Send a bucket as soon as backward has its gradients, instead of all after it. */
  readonly overlap?: boolean;
};

/** As the reference's: fewer messages than parameters, and enough of them to start early. */
const BUCKET_BYTES = 16 * 2 ** 20;

/**
 * Averages the gradients of parameters that every process holds. A parameter that no process has a gradient for keeps none;
 * one that some process has a gradient for gets the mean, absent ones counted as 0.
 */
export class GradientBuckets {
  readonly #handle: BucketsHandle;
  readonly #overlap: boolean;

  constructor(
    group: GroupHandle,
    parameters: readonly Tensor[],
    { bucketBytes = BUCKET_BYTES, overlap = true }: BucketOptions,
  ) {
    this.#handle = native.makeBuckets(group, parameters, bucketBytes);
    this.#overlap = overlap;
  }

  get count(): number {
    return native.bucketsCount(this.#handle);
  }
  /** Before the backward pass after which gradients are complete. */
  arm(): void {
    if (this.#overlap) native.bucketsArm(this.#handle);
  }
  /** After it: gradients are means over the processes when this returns. */
  finish(): void {
    withPeerErrors('averaging gradients', () => native.bucketsFinish(this.#handle));
  }
}

/** Ties this process to the one that started it: when that ends, the kernel ends this. */
export const dieWithParent = (): void => native.dieWithParent();
