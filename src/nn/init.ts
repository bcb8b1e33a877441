import type { Rng } from '../base/rng.ts';
import {
  copy_,
  fillNormal,
  fillUniform,
  generator,
  narrow,
  reshape,
  scope,
  type Tensor,
  zeros,
} from '../torch/index.ts';

/** Normal(0, std). */
export const normal = (shape: readonly number[], std: number, rng: Rng): Tensor =>
  fillNormal(zeros(shape), generator(rng.seed()), 0, std);

/** Elements drawn at a time: a multiple of 16, since libtorch makes normal numbers in groups of 16. */
const BLOCK = 2 ** 20;
/** A shorter last block is drawn together with the one before. */
const GROUP = 16;

/** Rows `start` … `start + count - 1` of `normal(shape, std, rng)`, to the bit, without memory for the other rows. */
export function normalRows(
  shape: readonly [rows: number, ...rest: number[]],
  std: number,
  rng: Rng,
  { start, count }: { readonly start: number; readonly count: number },
): Tensor {
  const [rows, ...rest] = shape;
  if (count === rows) return normal(shape, std, rng);
  const width = rest.reduce((product, size) => product * size, 1);
  const [first, end, total] = [start * width, (start + count) * width, rows * width];
  const drawn = zeros([count, ...rest]);
  const source = generator(rng.seed());
  for (let from = 0; from < end; ) {
    const left = total - from;
    const size = left - BLOCK < GROUP ? left : BLOCK;
    scope(() => {
      const block = fillNormal(zeros([size]), source, 0, std);
      const [low, high] = [Math.max(first, from), Math.min(end, from + size)];
      if (low < high)
        copy_(
          narrow(reshape(drawn, [count * width]), 0, low - first, high - low),
          narrow(block, 0, low - from, high - low),
        );
    });
    from += size;
  }
  return drawn;
}

/** Uniform[-bound, bound). */
export const uniform = (shape: readonly number[], bound: number, rng: Rng): Tensor =>
  fillUniform(zeros(shape), generator(rng.seed()), -bound, bound);

/** Inputs per output of a weight [out, in, …]. */
export const fanIn = (shape: readonly number[]): number => shape.slice(1).reduce((product, size) => product * size, 1);

/** PyTorch's default for the weight and the bias of Linear and Conv2d: Uniform ± 1/√fanIn (Kaiming, a = √5). */
export const defaultUniform = (shape: readonly number[], inputs: number, rng: Rng): Tensor =>
  uniform(shape, 1 / Math.sqrt(inputs), rng);
