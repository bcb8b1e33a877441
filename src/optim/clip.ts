import { add, foreach, mul, narrow, noGrad, norm, scope, stack, sum, type Tensor, zeros } from '../torch/index.ts';

/** Added to the norm before dividing, as PyTorch's `clip_grad_norm_` does. */
const CLIP_EPS = 1e-6;

/**
 * The joint Euclidean norm of the gradients of `parameters`, []. Gradients of `others` do not count in it; but if any gradient is
 * non-finite, also one of `others`, so is the norm.
 */
export const gradientNorm = (parameters: readonly Tensor[], others: readonly Tensor[] = []): Tensor =>
  noGrad(() => {
    const [own, rest] = [parameters, others].map((some) => some.flatMap((p) => p.grad ?? [])) as [Tensor[], Tensor[]];
    if (own.length + rest.length === 0) return zeros([]);
    const norms = stack(foreach.norm([...own, ...rest]));
    const joint = norm(narrow(norms, 0, 0, own.length));
    // 0 · x is 0 unless x is non-finite, so one sum shows whether any element is
    return rest.length === 0 ? joint : add(joint, mul(sum(narrow(norms, 0, own.length, rest.length)), 0));
  });

/**
 * Scales the gradients of `parameters` in place, so that their joint norm, which is `total` now, is at most `maxNorm`. If it is
 * non-finite, nothing is scaled.
 */
export function clipGradients(parameters: readonly Tensor[], total: number, maxNorm: number): void {
  const factor = maxNorm / (total + CLIP_EPS);
  if (!Number.isFinite(total) || factor >= 1) return;
  scope(() =>
    noGrad(() =>
      foreach.mul_(
        parameters.flatMap((p) => p.grad ?? []),
        factor,
      ),
    ),
  );
}
