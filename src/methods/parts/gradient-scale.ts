import { add, detach, mul, type Tensor } from '../../torch/index.ts';

/** Returns `x`; in backward, multiplies the gradient by `factor`. */
export const scaleGradient = (x: Tensor, factor: number): Tensor =>
  factor === 1 ? x : add(mul(detach(x), 1 - factor), mul(x, factor));

/** Gradient reversal: returns `x`; in backward, multiplies the gradient by -strength. */
export const reverseGradient = (x: Tensor, strength: number): Tensor => scaleGradient(x, -strength);
