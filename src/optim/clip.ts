import { add, foreach, mul, narrow, noGrad, norm, scope, stack, sum, type Tensor } from '../torch/index.ts';

/** Added to the norm before dividing, as PyTorch's `clip_grad_norm_` does. */
const CLIP_EPS = 1e-6;

/**
 * Scales the gradients of `parameters` so that their joint Euclidean norm is at most `maxNorm`, in place. Those of `others`
 * are left as they are and do not count in the norm.
 * @returns the norm before; not finite if any gradient, also of `others`, is not, and then nothing is scaled.
 */
export function clipGradients(parameters: readonly Tensor[], maxNorm: number, others: readonly Tensor[] = []): number {
  return scope(() =>
    noGrad(() => {
      const [own, rest] = [parameters, others].map((some) => some.flatMap((p) => p.grad ?? [])) as [Tensor[], Tensor[]];
      if (own.length + rest.length === 0) return 0;
      const norms = stack(foreach.norm([...own, ...rest]));
      const joint = norm(narrow(norms, 0, 0, own.length));
      // 0 · x is 0 unless x is not finite: one number tells of all
      const total = (
        rest.length === 0 ? joint : add(joint, mul(sum(narrow(norms, 0, own.length, rest.length)), 0))
      ).item();
      const factor = maxNorm / (total + CLIP_EPS);
      if (Number.isFinite(total) && factor < 1) foreach.mul_(own, factor);
      return total;
    }),
  );
}
