import { foreach, noGrad, norm, scope, stack, type Tensor } from '../torch/index.ts';

/** Added to the norm before dividing, as PyTorch's `clip_grad_norm_` does. */
const CLIP_EPS = 1e-6;

/**
 * Scales all gradients so that their joint Euclidean norm is at most `maxNorm`, in place.
 * @returns the norm before; not finite if any gradient is not.
 */
export function clipGradients(parameters: readonly Tensor[], maxNorm: number): number {
  return scope(() =>
    noGrad(() => {
      const gradients = parameters.flatMap((p) => p.grad ?? []);
      if (gradients.length === 0) return 0;
      const total = norm(stack(foreach.norm(gradients))).item();
      const factor = maxNorm / (total + CLIP_EPS);
      if (factor < 1) foreach.mul_(gradients, factor);
      return total;
    }),
  );
}
