import { gradients, requireGrad, scope, type Tensor, tensor, toFloat64 } from '../../src/torch/index.ts';

/** Step of central differences: near the cube root of the float64 epsilon, where truncation and round-off balance. */
const STEP = 1e-5;

/**
 * Largest difference between autograd's derivative of `f` at `x` (float64) and central differences, over all elements.
 * `f` maps a tensor of x's shape to a scalar; choose `x` away from kinks.
 */
export function gradientGap(f: (x: Tensor) => Tensor, x: Tensor): number {
  return scope(() => {
    const { shape } = x;
    const values = toFloat64(x);
    const leaf = requireGrad(tensor(values, { shape }));
    const [gradient] = gradients(f(leaf), [leaf]);
    const exact = toFloat64(gradient!);
    const valueAt = (i: number, delta: number): number =>
      scope(() => {
        const moved = Float64Array.from(values);
        moved[i]! += delta;
        return f(tensor(moved, { shape })).item();
      });
    return exact.reduce(
      (worst, g, i) => Math.max(worst, Math.abs((valueAt(i, STEP) - valueAt(i, -STEP)) / (2 * STEP) - g)),
      0,
    );
  });
}
