import { randomPermutation, scope, toInt64 } from '../torch/index.ts';

export type SamplerOptions = {
  /** W, and which of the W processes this is. */
  readonly processes?: number;
  readonly rank?: number;
  /** Added to the epoch to seed PyTorch's generator; PyTorch's own default is 0. */
  readonly seed?: number;
};

/**
 * The order in which one process visits a dataset of `size` samples in `epoch`: bit for bit PyTorch's
 * `DistributedSampler(shuffle=True)` (methods.md 1.4). One permutation for all processes, padded at its end with its
 * head to a multiple of W; process r takes elements r, r+W, r+2W, …
 */
export function shuffledOrder(
  size: number,
  epoch: number,
  { processes = 1, rank = 0, seed = 0 }: SamplerOptions = {},
): Int32Array {
  const permutation = scope(() => toInt64(randomPermutation(size, seed + epoch)));
  const each = Math.ceil(size / processes);
  return Int32Array.from({ length: each }, (_, i) => Number(permutation[(rank + i * processes) % size]));
}

/** 0 … size-1, the order of extraction. */
export const sequentialOrder = (size: number): Int32Array => Int32Array.from({ length: size }, (_, i) => i);
