import { add, detach, mul, type Tensor } from '../../torch/index.ts';

/** `x` forward; backward the gradient times -strength, so that what comes before learns the opposite. */
export const reverseGradient = (x: Tensor, strength: number): Tensor =>
  add(mul(detach(x), 1 + strength), mul(x, -strength));
