// Types of tensors, which the addon, the generated operators and tensor.ts share.
export type Dtype =
  | 'float32'
  | 'float64'
  | 'float16'
  | 'bfloat16'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'uint8'
  | 'bool';

/** A tensor as numbers in memory: row-major, contiguous, `BYTES[dtype]` bytes for each element. Make one with `tensor()`. */
export type HostTensor = { readonly dtype: Dtype; readonly shape: readonly number[]; readonly bytes: Uint8Array };

/**
 * A handle on a libtorch tensor. Functions borrow their arguments and return fresh handles; in-place functions return
 * their first argument. Temporaries die with the `scope` they were made in; see docs/memory.md.
 */
export interface Tensor {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly dtype: Dtype;
  readonly device: string;
  readonly numel: number;
  readonly isDisposed: boolean;
  readonly requiresGrad: boolean;
  /** The accumulated gradient, same shape, or null. Setting it replaces what `backward` adds to. */
  grad: Tensor | null;
  /** The value of a tensor of one element. */
  item(): number;
  /** Frees the handle, and the memory if nothing else holds it. May be called twice. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** A source of random numbers of libtorch (MT19937 on the CPU). */
export interface Generator {
  /** The full state, as a byte tensor; setting it continues from there. */
  state: Tensor;
  seed(seed: number): void;
}
