import { firstIndexWhere } from './binary-search.ts';
import { NO_SCORE } from './scores.ts';

/** FAR at which true accept rates are reported. */
export const FAR_TARGETS = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1] as const;

/** Scores of pairs, each sorted ascending (`sort` of a typed array). */
export type Scores = { readonly genuine: ArrayLike<number>; readonly impostor: ArrayLike<number> };

/** Splits the scores of pairs into genuine and impostor scores, and sorts both. */
export function scoresByIdentity(scores: Float64Array, same: ArrayLike<number>): Scores {
  return {
    genuine: scores.filter((_, i) => same[i] === 1).sort(),
    impostor: scores.filter((_, i) => same[i] === 0).sort(),
  };
}

/** Accepting every score ≥ `threshold` accepts these shares of impostor and of genuine pairs. Thresholds fall, shares rise. */
export type Roc = {
  readonly threshold: readonly number[];
  readonly far: readonly number[];
  readonly tar: readonly number[];
};

/** A curve without its thresholds. */
export type RocPoints = Omit<Roc, 'threshold'>;

/**
 * The ROC curve, from (0, 0) at an infinite threshold to (1, 1), without the points that lie evenly on a line between their
 * neighbours: the points of scikit-learn's `roc_curve` (methods.md 6.5). Equal scores are one point.
 */
export function roc({ genuine, impostor }: Scores): Roc {
  const [threshold, far, tar] = [[Number.POSITIVE_INFINITY], [0], [0]];
  const none = [Number.NaN, Number.NaN] as const;
  let before: readonly [impostors: number, genuines: number] = none; // the step between the last two points
  let [i, g] = [impostor.length, genuine.length];
  while (i > 0 || g > 0) {
    const value = Math.max(
      i > 0 ? impostor[i - 1]! : Number.NEGATIVE_INFINITY,
      g > 0 ? genuine[g - 1]! : Number.NEGATIVE_INFINITY,
    );
    const [fromI, fromG] = [i, g];
    while (i > 0 && impostor[i - 1] === value) i--;
    while (g > 0 && genuine[g - 1] === value) g--;
    const step = [fromI - i, fromG - g] as const;
    const at = before[0] === step[0] && before[1] === step[1] ? threshold.length - 1 : threshold.length;
    before = at === 1 ? none : step; // scikit-learn adds (0, 0) afterwards: the first score's point always stays
    threshold[at] = value;
    far[at] = (impostor.length - i) / impostor.length;
    tar[at] = (genuine.length - g) / genuine.length;
  }
  return { threshold, far, tar };
}

/** Area under the curve: the probability that a genuine pair scores above an impostor pair; ties count half. */
export function auc({ far, tar }: RocPoints): number {
  let area = 0;
  for (let i = 1; i < far.length; i++) area += ((far[i]! - far[i - 1]!) * (tar[i]! + tar[i - 1]!)) / 2;
  return area;
}

/** Equal error rate: where the piecewise linear curve meets FAR = 1 - TAR. */
export function equalErrorRate({ far, tar }: RocPoints): number {
  const excess = (i: number): number => far[i]! + tar[i]! - 1; // rises from -1 to 1
  let i = 1;
  while (excess(i) < 0) i++;
  const share = excess(i - 1) / (excess(i - 1) - excess(i));
  return far[i - 1]! + share * (far[i]! - far[i - 1]!);
}

/** TAR at the point whose FAR is nearest to `target`, the largest at equal distance: the reference's rule (6.5). */
export function tarNearest({ far, tar }: RocPoints, target: number): number {
  let best = far.length - 1;
  for (let i = far.length - 1; i >= 0; i--) if (Math.abs(far[i]! - target) < Math.abs(far[best]! - target)) best = i;
  return tar[best]!;
}

/** n · share rounded down; a rounding error below an integer is ignored: 0.29 · 100 is 29. */
const ROUNDING_TOLERANCE = 1e-9;
export const atMostCount = (share: number, n: number): number => Math.floor(share * n + ROUNDING_TOLERANCE);

/** The largest impostor score that is rejected at FAR ≤ `target`. Accepted scores are above it. */
export const thresholdAtMost = (impostor: ArrayLike<number>, target: number): number =>
  impostor[impostor.length - 1 - atMostCount(target, impostor.length)] ?? NO_SCORE;

/** The largest TAR whose FAR does not exceed `target`. A genuine pair that ties with the first rejected impostor is rejected. */
export const tarAtMost = ({ genuine, impostor }: Scores, target: number): number =>
  countAbove(genuine, thresholdAtMost(impostor, target)) / genuine.length;

/** Genuine pairs rejected at one of `targets` because their score equals that of the first impostor rejected. */
export function tiedPairs({ genuine, impostor }: Scores, targets: readonly number[]): number {
  let tied = 0;
  for (const value of new Set(targets.map((target) => thresholdAtMost(impostor, target))))
    if (value !== NO_SCORE) tied += countAtLeast(genuine, value) - countAbove(genuine, value);
  return tied;
}

/** How many of ascending `sorted` are above `value`, and how many are not below it. */
export const countAbove = (sorted: ArrayLike<number>, value: number): number =>
  sorted.length - firstIndexWhere(sorted.length, (i) => sorted[i]! > value);
const countAtLeast = (sorted: ArrayLike<number>, value: number): number =>
  sorted.length - firstIndexWhere(sorted.length, (i) => sorted[i]! >= value);
