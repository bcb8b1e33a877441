import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { BUILD_HINT, buildFolder, loadAddon } from '../base/addon.ts';
import { UserError } from '../base/errors.ts';
import type { Dtype, Generator, Tensor } from './tensor-types.ts';

/** Statistics of the caching allocator, in bytes and hits. */
export type AllocatorStats = {
  readonly installed: boolean;
  readonly inUseBytes: number;
  readonly idleBytes: number;
  readonly peakBytes: number;
  readonly boundBytes: number;
  readonly hits: number;
  readonly misses: number;
  readonly trims: number;
};

/** How the linked libtorch was built. */
export type BuildInfo = {
  readonly libtorch: string;
  readonly config: string;
  readonly mkl: boolean;
  readonly onednn: boolean;
  readonly openmp: boolean;
  readonly cuda: boolean;
  readonly cudaDevices: number;
  readonly gloo: boolean;
  readonly nccl: boolean;
  readonly mpi: boolean;
};

declare const handle: unique symbol;
type Handle<Name extends string> = { readonly [handle]: Name };
export type StoreHandle = Handle<'store'>;
export type GroupHandle = Handle<'group'>;
export type WorkHandle = Handle<'work'>;
export type BucketsHandle = Handle<'buckets'>;
export type ScriptHandle = Handle<'script'>;

/** Functions of native/torch/distributed.cc. A group or store that is not closed lives as long as the process. */
interface NativeDistributed {
  tcpStore(host: string, port: number, isServer: boolean, timeoutMs: number, loopback: boolean): StoreHandle;
  storePort(store: StoreHandle): number;
  fileStore(path: string, processes: number, timeoutMs: number): StoreHandle;
  prefixStore(store: StoreHandle, prefix: string): StoreHandle;
  storeSet(store: StoreHandle, key: string, value: string): void;
  storeGet(store: StoreHandle, key: string): string;
  storeAdd(store: StoreHandle, key: string, amount: number): number;
  storeHas(store: StoreHandle, key: string): boolean;
  storeClose(store: StoreHandle): void;
  glooGroup(
    store: StoreHandle,
    rank: number,
    processes: number,
    timeoutMs: number,
    networkInterface: string,
    host: string,
  ): GroupHandle;
  ncclGroup(store: StoreHandle, rank: number, processes: number, timeoutMs: number, device: number): GroupHandle;
  hasNccl(): boolean;
  groupClose(group: GroupHandle): void;
  startAllReduce(group: GroupHandle, tensor: Tensor, how: 'sum' | 'max' | 'min'): WorkHandle;
  startBroadcast(group: GroupHandle, tensor: Tensor, from: number): WorkHandle;
  startAllGather(group: GroupHandle, into: Tensor, own: Tensor): WorkHandle;
  startSend(group: GroupHandle, tensor: Tensor, to: number): WorkHandle;
  startReceive(group: GroupHandle, tensor: Tensor, from: number): WorkHandle;
  startBarrier(group: GroupHandle): WorkHandle;
  workWait(work: WorkHandle): void;
  workDone(work: WorkHandle): boolean;
  sumAcross(group: GroupHandle, tensor: Tensor, scale: number): Tensor;
  gatherAcross(group: GroupHandle, tensor: Tensor, scale: number): Tensor;
  makeBuckets(group: GroupHandle, parameters: readonly Tensor[], bytes: number): BucketsHandle;
  bucketsArm(buckets: BucketsHandle): void;
  bucketsFinish(buckets: BucketsHandle): void;
  bucketsCount(buckets: BucketsHandle): number;
  dieWithParent(): void;
}

/** Functions of native/torch/script.cc. */
interface NativeScript {
  scriptLoad(bytes: Uint8Array, device: string): ScriptHandle;
  scriptState(module: ScriptHandle, buffers: boolean): [name: string, value: Tensor][];
  scriptParts(module: ScriptHandle): string[];
  scriptFreeze(module: ScriptHandle, part: number): void;
  scriptForward(module: ScriptHandle, x: Tensor, train: boolean, again: boolean): Tensor;
  scriptClose(module: ScriptHandle): void;
}

/** Functions of the addon, declared in native/torch/binding.cc. */
export interface Native extends NativeDistributed, NativeScript {
  readonly Tensor: { readonly prototype: Tensor };
  readonly Generator: { readonly prototype: Generator };
  op(name: string, overload: string): number;
  call(op: number, ...args: readonly unknown[]): unknown;
  schemas(): string[];
  fromArray(data: ArrayBufferView, dtype: Dtype, shape: readonly number[]): Tensor;
  shareArray(data: ArrayBufferView, dtype: Dtype, shape: readonly number[]): Tensor;
  copyTo(tensor: Tensor, into: ArrayBufferView): void;
  shape(tensor: Tensor): number[];
  strides(tensor: Tensor): number[];
  dtype(tensor: Tensor): Dtype;
  device(tensor: Tensor): string;
  numel(tensor: Tensor): number;
  item(tensor: Tensor): number;
  dispose(tensor: Tensor): void;
  isDisposed(tensor: Tensor): boolean;
  isTensor(value: unknown): value is Tensor;
  liveTensors(): number;
  scopeOpen(): void;
  scopeClose(keep: readonly Tensor[]): void;
  keep(tensor: Tensor): Tensor;
  requiresGrad(tensor: Tensor): boolean;
  setRequiresGrad(tensor: Tensor, flag: boolean): Tensor;
  gradient(tensor: Tensor): Tensor | null;
  setGradient(tensor: Tensor, gradient: Tensor | null): void;
  backward(outputs: readonly Tensor[], gradients: readonly (Tensor | null)[], retain: boolean, create: boolean): void;
  grad(
    outputs: readonly Tensor[],
    inputs: readonly Tensor[],
    gradients: readonly (Tensor | null)[],
    retain: boolean,
    create: boolean,
    allowUnused: boolean,
  ): (Tensor | null)[];
  gradEnabled(): boolean;
  setGradEnabled(flag: boolean): void;
  enterInference(): void;
  leaveInference(): void;
  autocast(device: string): { readonly enabled: boolean; readonly dtype: Dtype };
  setAutocast(device: string, enabled: boolean, dtype: Dtype): void;
  generator(seed: number): Generator;
  defaultGenerator(device: string): Generator;
  seed(generator: Generator, seed: number): void;
  generatorState(generator: Generator): Tensor;
  setGeneratorState(generator: Generator, state: Tensor): void;
  threads(): number;
  setThreads(count: number): void;
  useCachingAllocator(boundBytes: number): void;
  trim(): void;
  allocator(): AllocatorStats;
  build(): BuildInfo;
}

/** Where the linked libtorch came from, as the set-up script recorded it. */
export function libtorchOrigin(): { readonly version: string; readonly origin: string; readonly lib: string } {
  return JSON.parse(readFileSync(join(buildFolder, 'torch.json'), 'utf8'));
}

/** Supported releases of libtorch, whose operators `aten.gen.ts` fits. */
const SUPPORTED = /^(1\.13|2\.)/;

function load(): Native {
  const addon = loadAddon<Native>('torch');
  const { libtorch } = addon.build();
  if (!SUPPORTED.test(libtorch))
    throw new UserError(`libtorch ${libtorch} is not supported; wanted 1.13 or 2.x`, { hint: BUILD_HINT });
  if (process.env['MIXBCT_ALLOCATOR'] !== 'system') addon.useCachingAllocator(cacheBound());
  return addon;
}

/** Limit of the allocator's idle bytes: `MIXBCT_CACHE_MB`, or a quarter of the machine's memory. */
function cacheBound(): number {
  const wish = process.env['MIXBCT_CACHE_MB'];
  if (wish === undefined) return Math.floor(totalmem() / 4);
  const megabytes = Number(wish);
  if (!Number.isInteger(megabytes) || megabytes < 0)
    throw new UserError(`MIXBCT_CACHE_MB=${wish}: wanted a whole number of megabytes`);
  return megabytes * 2 ** 20;
}

/** Callbacks that run when the addon is loaded. */
const atLoad: ((addon: Native) => void)[] = [];

/** Calls `equip` when the addon is loaded. */
export const whenLoaded = (equip: (addon: Native) => void): void => void atLoad.push(equip);

/**
 * The addon. It loads with libtorch at its first use, so that commands that compute nothing start quickly. From then on this is
 * the addon itself.
 */
export let native: Native = new Proxy({} as Native, {
  get(_, name: keyof Native) {
    native = load();
    for (const equip of atLoad) equip(native);
    return native[name];
  },
});
