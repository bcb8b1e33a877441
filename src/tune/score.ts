import { UserError } from '../base/errors.ts';
import type { Comparison } from '../eval/evaluation.ts';
import { mean } from '../eval/mean.ts';

/** What trials are chosen by: `gain`, or one metric of queries on the old gallery. */
export const tuneMetrics = ['gain', 'TAR@FAR=1e-3', 'rank-1', 'TPIR@FPIR=1e-1'] as const;
export type TuneMetric = (typeof tuneMetrics)[number];

/** The metrics that `gain` is made of. */
export const gainMetrics = ['TAR@FAR=1e-3', 'rank-1'] as const;

type Sides = Pick<Comparison, 'metric' | 'oldOld' | 'newOld' | 'newNew' | 'oracle'>;

/**
 * A trial on the validation classes. Gains and tax are shares of what the oracle is better than the old model, 1 = all of it; null if
 * it is not better.
 */
export type TrialScore = {
  readonly score: number;
  /** Of `gainMetrics`: (new → old - old → old) / (oracle → oracle - old → old). */
  readonly gains: readonly (number | null)[];
  /** Mean over `gainMetrics` of (oracle → oracle - new → new) / (oracle → oracle - old → old), each at least 0. */
  readonly tax: number | null;
  /** Of `gainMetrics`, shares of 1. */
  readonly newOld: readonly number[];
  readonly newNew: readonly number[];
};

/**
 * The harmonic mean of positive gains. If a gain is not positive, it is the least of them: less than any score of positive gains,
 * and the same at 0.
 */
export function harmonicGain(gains: readonly number[]): number {
  const least = Math.min(...gains);
  return least <= 0 ? least : 1 / mean(gains.map((gain) => 1 / gain));
}

/** @throws UserError if trials are chosen by gain and the oracle is not better than the old model: there is nothing to gain */
export function scoreTrial(comparisons: readonly Sides[], metric: TuneMetric): TrialScore {
  const of = (name: string): Sides => comparisons.find((one) => one.metric === name)!;
  const sides = gainMetrics.map(of);
  const [newOld, newNew] = [sides.map((side) => side.newOld), sides.map((side) => side.newNew)];
  const worse = sides.find(({ oldOld, oracle }) => !(oracle! > oldOld));
  if (worse && metric === 'gain')
    throw new UserError(
      `on the validation classes the oracle is not better than the old model by ${worse.metric} (${(100 * worse.oracle!).toFixed(2)} against ${(100 * worse.oldOld).toFixed(2)}): there is no gain to measure`,
      { hint: 'train longer (stages.….recipe.epochs), or choose by a metric of the old gallery alone' },
    );
  if (worse) return { score: of(metric).newOld, gains: sides.map(() => null), tax: null, newOld, newNew };
  const gains = sides.map(({ newOld, oldOld, oracle }) => (newOld - oldOld) / (oracle! - oldOld));
  const tax = mean(sides.map(({ newNew, oldOld, oracle }) => Math.max(0, (oracle! - newNew) / (oracle! - oldOld))));
  return { score: metric === 'gain' ? harmonicGain(gains) - tax : of(metric).newOld, gains, tax, newOld, newNew };
}
