import { add, foreach, mul, narrow, noGrad, norm, scope, stack, sum, type Tensor } from '../torch/index.ts';

/** Added to the norm before dividing, as PyTorch's `clip_grad_norm_` does. */
const CLIP_EPS = 1e-6;

/**
 * Scales the gradients of `parameters` in place, so that their joint Euclidean norm is at most `maxNorm`. Gradients of `others`
 * are not scaled and do not count in the norm.
 * @returns the norm before. If any gradient is non-finite, also one of `others`, so is the norm, and nothing is scaled.
 */
export function clipGradients(parameters: readonly Tensor[], maxNorm: number, others: readonly Tensor[] = []): number {
  return scope(() =>
    noGrad(() => {
      const [own, rest] = [parameters, others].map((some) => some.flatMap((p) => p.grad ?? [])) as [Tensor[], Tensor[]];
      if (own.length + rest.length === 0) return 0;
      const norms = stack(foreach.norm([...own, ...rest]));
      const joint = norm(narrow(norms, 0, 0, own.length));
      // 0 · x is 0 unless x is non-finite, so one sum shows whether any element is
      const total = (
        rest.length === 0 ? joint : add(joint, mul(sum(narrow(norms, 0, own.length, rest.length)), 0))
      ).item();
      const factor = maxNorm / (total + CLIP_EPS);
      if (Number.isFinite(total) && factor < 1) foreach.mul_(own, factor);
      return total;
    }),
  );
}
