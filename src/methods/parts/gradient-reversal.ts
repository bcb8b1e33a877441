import { add, detach, mul, type Tensor } from '../../torch/index.ts';

/** Gradient reversal: returns `x`; in backward, multiplies the gradient by -strength. */
export const reverseGradient = (x: Tensor, strength: number): Tensor =>
  add(mul(detach(x), 1 + strength), mul(x, -strength));
