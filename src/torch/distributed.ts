import { codeOf, messageOf, PeerLost } from '../base/errors.ts';
import { type BucketsHandle, type GroupHandle, native, type StoreHandle, type WorkHandle } from './native.ts';
import { clone, contiguous, narrow, reshape, transpose } from './ops.ts';
import { scope } from './scope.ts';
import type { Tensor } from './tensor-types.ts';

export { PeerLost };

/** Words in c10d's errors that point to another process. */
const LOST = /connection (closed|reset|was)|broken pipe|timed out|timeout|socket|peer|aborted/i;

/** Calls `call`, which may use c10d. @throws PeerLost if it fails because of another process */
export function withPeerErrors<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (codeOf(error) === 'TORCH' && LOST.test(messageOf(error)))
      throw new PeerLost(`${what}: another process has ended or does not answer`, { cause: error });
    throw error;
  }
}

/** c10d's key-value store. `get` waits for the key until the store's time-out. */
export class Store {
  readonly handle: StoreHandle;

  private constructor(handle: StoreHandle) {
    this.handle = handle;
  }

  /**
   * A store on a TCP port, which one of the processes (`isServer`) opens and serves in its own thread: on all network interfaces,
   * or with `loopback` on this machine only (from libtorch 2 on). Port 0 is any free one.
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

  /** A store in a file that all processes can access. The last one to leave removes it. */
  static file(
    path: string,
    { processes, timeoutMs }: { readonly processes: number; readonly timeoutMs: number },
  ): Store {
    return new Store(native.fileStore(path, processes, timeoutMs));
  }

  /** The same store with a prefix before all keys. */
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

/** A running collective. Its tensors must not be used before `wait` returns. */
export class PendingCollective {
  readonly #handle: WorkHandle;
  readonly #what: string;

  private constructor(what: string, handle: WorkHandle) {
    this.#what = what;
    this.#handle = handle;
  }

  /** @throws PeerLost if another process is lost already */
  static start(what: string, call: () => WorkHandle): PendingCollective {
    return new PendingCollective(what, withPeerErrors(what, call));
  }

  /** Blocks until it is done. A second call returns at once. @throws PeerLost if another process is lost */
  wait(): void {
    withPeerErrors(this.#what, () => native.workWait(this.#handle));
  }
  get done(): boolean {
    return native.workDone(this.#handle);
  }
}

/**
 * The collectives that heads, layers and methods use. Each process passes what it computes from its share of the batch.
 * Every process must call the same functions in the same order.
 *
 * Gradients of replicated parameters are averaged over the processes after backward. Gradients of sharded parameters (rows of
 * the head's weight) are not.
 */
export interface ProcessGroup {
  /** W */
  readonly processes: number;
  readonly rank: number;
  /** Elementwise maximum. No gradient. */
  max(x: Tensor): Tensor;
  /** Elementwise sum. Since gradients are averaged later, each process gets the sum of all gradients. */
  sum(x: Tensor): Tensor;
  /** Elementwise sum of values from sharded parameters: each process gets the mean of all gradients. */
  sumOfShards(x: Tensor): Tensor;
  /**
   * Rows of all processes, in the order of a single process's batch: row i of process r is row i·W + r. [b, …] → [W·b, …]. Its
   * gradient is for losses that every process computes whole, before averaging (2.9).
   */
  gather(rows: Tensor): Tensor;
}

/** The group of a single process. */
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
  /** Time-out of a collective. */
  readonly timeoutMs: number;
  /** Network interface to communicate over; `host`: the own address. Default: the address of this machine's name. */
  readonly networkInterface?: string | undefined;
  readonly host?: string | undefined;
  /** CUDA device of this process. Its tensors use NCCL, CPU tensors use Gloo. */
  readonly cudaDevice?: number | undefined;
};

/** Whether this addon is built with NCCL. */
export const hasNccl = (): boolean => native.hasNccl();

/** A process group over c10d (Gloo or NCCL). */
export class C10dProcessGroup implements ProcessGroup {
  readonly rank: number;
  readonly processes: number;
  readonly #cpu: GroupHandle;
  readonly #cuda: GroupHandle | null;

  /** Waits until all `processes` have joined. @throws PeerLost at a time-out */
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
      cudaDevice === undefined
        ? null
        : withPeerErrors('connecting the devices', () =>
            native.ncclGroup(store.prefixed('nccl').handle, ...settings, cudaDevice),
          );
  }

  /** The backend for the tensor's device. */
  #of(x: Tensor): GroupHandle {
    if (!x.device.startsWith('cuda')) return this.#cpu;
    if (!this.#cuda) throw new Error(`a tensor on ${x.device}, but this group was made without a CUDA device`);
    return this.#cuda;
  }

  /** Elementwise, in place. The tensor must be contiguous, as for all collectives here. */
  allReduce(x: Tensor, how: 'sum' | 'max' | 'min' = 'sum'): PendingCollective {
    return PendingCollective.start('all-reduce', () => native.startAllReduce(this.#of(x), x, how));
  }
  /** In place: every process gets the values of rank `from`. */
  broadcast(x: Tensor, from = 0): PendingCollective {
    return PendingCollective.start('broadcast', () => native.startBroadcast(this.#of(x), x, from));
  }
  /** `into` [W, …] gets `own` […] of every process. */
  allGather(into: Tensor, own: Tensor): PendingCollective {
    return PendingCollective.start('all-gather', () => native.startAllGather(this.#of(own), into, own));
  }
  send(x: Tensor, to: number): PendingCollective {
    return PendingCollective.start('send', () => native.startSend(this.#of(x), x, to));
  }
  receive(x: Tensor, from: number): PendingCollective {
    return PendingCollective.start('receive', () => native.startReceive(this.#of(x), x, from));
  }
  barrier(): PendingCollective {
    return PendingCollective.start('barrier', () => native.startBarrier(this.#cpu));
  }
  /**
   * This process's slice of the sum over the processes: [W·b, …] → [b, …]. Gloo of libtorch 1.13 has no reduce-scatter, so this is
   * an all-reduce with twice the bytes.
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

  /** Closes the connections. No process may use them any more. */
  close(): void {
    native.groupClose(this.#cpu);
    if (this.#cuda) native.groupClose(this.#cuda);
  }
}

export type BucketOptions = {
  readonly bucketBytes?: number;
  /** Send each bucket as soon as backward has its gradients, instead of all after backward. */
  readonly overlap?: boolean;
};

/** As in the reference: fewer messages than parameters, but enough to start early. */
const BUCKET_BYTES = 16 * 2 ** 20;

/**
 * Averages the gradients of replicated parameters. A parameter without a gradient in every process keeps none. If some process
 * has a gradient, missing ones count as 0.
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
  /** Call it before the backward pass that completes the gradients. */
  arm(): void {
    if (this.#overlap) native.bucketsArm(this.#handle);
  }
  /** Call it after backward. When it returns, gradients are means over the processes. */
  finish(): void {
    withPeerErrors('averaging gradients', () => native.bucketsFinish(this.#handle));
  }
}

/** Makes the kernel end this process when its parent ends. */
export const dieWithParent = (): void => native.dieWithParent();
