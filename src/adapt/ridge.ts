import {
  add,
  clamp,
  div,
  matmul,
  mul,
  onesLike,
  reshape,
  scope,
  sub,
  sum,
  symmetricEigen,
  type Tensor,
  transpose,
} from '../torch/index.ts';
import { linearMap } from './adapter-map.ts';
import type { Candidate, TrainingPairs } from './candidate.ts';
import { type CentredMoments, centredMoments, type Means, type Moments, meansOf, totalMoments } from './moments.ts';

/** Strengths to choose from, as multiples of the mean eigenvalue of Σ (x - x̄)ᵀ(x - x̄): scale-free. */
export const STRENGTHS: readonly number[] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10];

/**
 * A ridge regression in the eigenvectors v of Σ (x - x̄)ᵀ(x - x̄) = v diag(e) vᵀ, where each strength costs a division:
 * vᵀw = vᵀΣ(x - x̄)ᵀ(y - ȳ) / (e + λ).
 */
export type RidgeSystem = {
  readonly means: Means;
  /** [P, P], e [P, 1] and vᵀ Σ (x - x̄)ᵀ(y - ȳ) [P, Q] */
  readonly vectors: Tensor;
  readonly values: Tensor;
  readonly right: Tensor;
};

export function ridgeSystem(moments: Moments): RidgeSystem {
  const means = meansOf(moments);
  const { xx, xy } = centredMoments(moments, means);
  const [values, vectors] = symmetricEigen(xx);
  const column = reshape(clamp(values, 0), [-1, 1]); // rounding makes the smallest ones negative
  return { means, vectors, values: column, right: matmul(transpose(vectors), xy) };
}

/** e + λ, where λ is `strength` times the mean of e: never 0, for embeddings that are all equal have e = 0. [P, 1] */
export function ridgeDenominator({ values }: RidgeSystem, strength: number): Tensor {
  const mean = sum(values).item() / values.numel;
  return add(values, Math.max(strength * mean, Number.MIN_VALUE ** 0.5));
}

/** vᵀw of a strength. [P, Q] */
export const rotatedWeight = (system: RidgeSystem, strength: number): Tensor =>
  div(system.right, ridgeDenominator(system, strength));

/** Moments of other rows about the system's means, in its eigenvectors. */
export function rotatedMoments({ means, vectors }: RidgeSystem, moments: Moments): CentredMoments {
  const { xx, xy } = centredMoments(moments, means);
  const v = transpose(vectors);
  return { xx: matmul(matmul(v, xx), vectors), xy: matmul(v, xy) };
}

/** What each dimension of y gains from the map: Σ |y - ȳ|² less the squared error, by columns of `weight`. [Q] */
export const gainByDimension = (weight: Tensor, { xx, xy }: CentredMoments): Tensor =>
  sum(mul(weight, sub(mul(xy, 2), matmul(xx, weight))), { dim: 0 });

/** Calls `visit` for each fold with the system of all others and the moments of the fold, within a scope. */
export function crossValidate<T>(
  { folds }: Pick<TrainingPairs, 'folds'>,
  visit: (system: RidgeSystem, heldOut: CentredMoments) => T,
): T[] {
  return folds.map((fold) =>
    scope(() => {
      const system = ridgeSystem(totalMoments(folds.filter((other) => other !== fold).map(({ moments }) => moments)));
      return visit(system, rotatedMoments(system, fold.moments));
    }),
  );
}

/** Position of the largest sum over folds. [folds][options] */
export function bestOption(gains: readonly (readonly number[])[]): number {
  const totals = gains[0]!.map((_, i) => gains.reduce((total, fold) => total + fold[i]!, 0));
  return totals.indexOf(Math.max(...totals));
}

/** Strengths that were chosen already: several candidates ask for that of the same folds. */
const chosenStrengths = new WeakMap<TrainingPairs['folds'], number>();

/** The strength whose squared error on held-out identities, summed over the folds, is smallest. */
export function chooseStrength({ folds }: Pick<TrainingPairs, 'folds'>): number {
  const known = chosenStrengths.get(folds);
  if (known !== undefined) return known;
  const strength = STRENGTHS[bestOption(crossValidate({ folds }, gainsOfStrengths))]!;
  chosenStrengths.set(folds, strength);
  return strength;
}

/**
 * The sum of `gainByDimension` for each strength. With w = r / (e + λ), r = vᵀ Σ (x - x̄)ᵀ(y - ȳ), it is a quadratic form of
 * 1 / (e + λ), whose matrix is the same for all of them.
 */
function gainsOfStrengths(system: RidgeSystem, { xx, xy }: CentredMoments): number[] {
  const { right } = system;
  const linear = sum(mul(right, xy), { dim: 1, keepDim: true });
  const quadratic = mul(xx, matmul(right, transpose(right)));
  return STRENGTHS.map((strength) => {
    const inverse = div(onesLike(linear), ridgeDenominator(system, strength));
    return sum(mul(inverse, sub(mul(linear, 2), matmul(quadratic, inverse)))).item();
  });
}

/** w of the minimum of Σ |(x - x̄) w - (y - ȳ)|² + λ|w|² (Hoerl and Kennard 1970, eq. 2.1). [P, Q] */
export const ridgeWeight = (system: RidgeSystem, strength: number): Tensor =>
  matmul(system.vectors, rotatedWeight(system, strength));

/** Ridge regression: any linear map, its strength chosen by cross-validation over identities. */
export const ridge: Candidate = {
  method: 'ridge',
  fit(training) {
    const strength = chooseStrength(training);
    const system = ridgeSystem(totalMoments(training.folds.map(({ moments }) => moments)));
    return { map: linearMap(ridgeWeight(system, strength), system.means), settings: { strength } };
  },
};
