import { flip, matmul, mul, narrow, symmetricEigen, type Tensor, toNumbers, transpose } from '../torch/index.ts';
import { linearMap } from './adapter-map.ts';
import type { Candidate, TrainingPairs } from './candidate.ts';
import { totalMoments } from './moments.ts';
import {
  bestOption,
  chooseStrength,
  crossValidate,
  gainByDimension,
  type RidgeSystem,
  ridgeDenominator,
  ridgeSystem,
  rotatedWeight,
} from './ridge.ts';

/**
 * Eigenvectors, the most important first, of what a ridge regression explains: wᵀ (Σ (x - x̄)ᵀ(x - x̄) + λ) w. [Q, Q]
 * (Mukherjee and Zhu 2011, "Reduced rank ridge regression and its kernel extensions".)
 */
function explainedDirections(system: RidgeSystem, strength: number): Tensor {
  const weight = rotatedWeight(system, strength);
  const explained = matmul(transpose(weight), mul(weight, ridgeDenominator(system, strength)));
  const [, vectors] = symmetricEigen(explained);
  return flip(vectors, [1]);
}

/** w q qᵀ, w of a ridge regression and q its `rank` first directions. [P, Q] */
export function lowRankWeight(system: RidgeSystem, { strength, rank }: LowRankSettings): Tensor {
  const directions = narrow(explainedDirections(system, strength), 1, 0, rank);
  const weight = matmul(system.vectors, rotatedWeight(system, strength));
  return matmul(matmul(weight, directions), transpose(directions));
}
export type LowRankSettings = { readonly strength: number; readonly rank: number };

/**
 * The rank whose squared error on held-out identities, summed over the folds, is smallest. The directions are orthogonal, so
 * the gain of a rank is the sum of those of its directions: one regression tells all ranks.
 */
export function chooseRank(training: Pick<TrainingPairs, 'folds'>, strength: number): number {
  const gains = crossValidate(training, (system, heldOut) => {
    const directions = explainedDirections(system, strength);
    const weight = matmul(rotatedWeight(system, strength), directions);
    const each = toNumbers(gainByDimension(weight, { ...heldOut, xy: matmul(heldOut.xy, directions) }));
    let total = 0;
    return each.slice(0, Math.min(...weight.shape)).map((gain) => (total += gain));
  });
  return 1 + bestOption(gains);
}

/** Reduced rank ridge regression: a linear map through fewer dimensions, their number chosen by cross-validation over identities. */
export const lowRank: Candidate = {
  method: 'low-rank',
  fit(training) {
    const strength = chooseStrength(training);
    const settings = { strength, rank: chooseRank(training, strength) };
    const system = ridgeSystem(totalMoments(training.folds.map(({ moments }) => moments)));
    return { map: linearMap(lowRankWeight(system, settings), system.means), settings };
  },
};
