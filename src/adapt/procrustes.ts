import { matmul, svd, type Tensor } from '../torch/index.ts';
import { linearMap } from './adapter-map.ts';
import type { Candidate } from './candidate.ts';
import { centredMoments, type Moments, meansOf, totalMoments } from './moments.ts';

/**
 * The rotation that maximises Σ ⟨(x - x̄) w, y - ȳ⟩: w = u vᵀ of the singular value decomposition u s vᵀ of Σ (x - x̄)ᵀ(y - ȳ)
 * (Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem"). If P and Q differ, w is semi-orthogonal:
 * the identity of the smaller space. For P = Q it also minimises the squared distance. → [P, Q]
 */
export function procrustesWeight(moments: Moments): Tensor {
  const [u, , vh] = svd(centredMoments(moments, meansOf(moments)).xy);
  return matmul(u, vh);
}

/** Centred orthogonal Procrustes: a rigid map, without a strength to choose. */
export const procrustes: Candidate = {
  method: 'procrustes',
  fit({ folds }) {
    const moments = totalMoments(folds.map((fold) => fold.moments));
    return { map: linearMap(procrustesWeight(moments), meansOf(moments)), settings: {} };
  },
};
