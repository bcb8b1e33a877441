import type { Rng } from '../base/rng.ts';
import { fillNormal, fillUniform, generator, type Tensor, zeros } from '../torch/index.ts';

/** Normal(0, std). */
export const normal = (shape: readonly number[], std: number, rng: Rng): Tensor =>
  fillNormal(zeros(shape), generator(rng.seed()), 0, std);

/** Uniform[-bound, bound). */
export const uniform = (shape: readonly number[], bound: number, rng: Rng): Tensor =>
  fillUniform(zeros(shape), generator(rng.seed()), -bound, bound);

/** How many inputs one output of a weight [out, in, …] sees. */
export const fanIn = (shape: readonly number[]): number => shape.slice(1).reduce((product, size) => product * size, 1);

/** PyTorch's default for the weight and the bias of Linear and Conv2d: Uniform ± 1/√fanIn (Kaiming, a = √5). */
export const defaultUniform = (shape: readonly number[], inputs: number, rng: Rng): Tensor =>
  uniform(shape, 1 / Math.sqrt(inputs), rng);
