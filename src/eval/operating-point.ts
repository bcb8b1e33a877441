import type { Rng } from '../base/rng.ts';
import {
  countAboveFalling,
  estimate,
  impostorWeights,
  pairCounts,
  prefixWeights,
  type Resamples,
  type ScoredPairs,
  thresholdReplicates,
  totalWeights,
  weightedSum,
} from './bootstrap.ts';
import { estimateOf } from './compatibility.ts';
import type { Measured, OperatingPointResult } from './evaluation.ts';
import { chooseCalibration } from './fit-calibration.ts';
import type { Searches } from './identification.ts';
import { mean } from './mean.ts';
import { NO_SCORE } from './scores.ts';

/** The FAR that a system runs at, and the threshold that gives the old one this FAR; absent: the test itself is old → old. */
export type OperatingPointOptions = { readonly far: number; readonly oldThreshold?: number };

/** What the tests of an evaluation share. */
export type ResampledProtocol = {
  readonly identities: number;
  readonly drawn: Resamples;
  /** Impostor weight of each resample. [R] */
  readonly totals: Float64Array;
  /** The identity of each probe. [P] */
  readonly probeIdentity: Int32Array;
  /** For the halves of the identities that calibrations are chosen by. */
  readonly rng: Rng;
};

/** Scores of one test; pairs are sorted by falling score. */
export type TestScores = {
  readonly genuine: ScoredPairs;
  readonly impostor: ScoredPairs;
  readonly searches: readonly Searches[];
  /** The largest TAR at a FAR of at most `far`, and the score that it lies above. */
  readonly keepingFar: { readonly tar: Measured; readonly threshold: number };
};

/** How one test does at the threshold of old → old, and at the one that keeps the FAR. */
export type MeasuredOperatingPoint = {
  readonly result: OperatingPointResult;
  readonly oldThreshold: number;
  /** The one that keeps the FAR. */
  readonly threshold: number;
  /** At the old threshold. */
  readonly tar: Measured;
  readonly far: Measured;
  readonly falseAccepts: number;
  readonly tarKeepingFar: Measured;
};

/**
 * Measures a test at fixed thresholds, calibrates its scores, and finds the threshold that keeps the FAR. All resamples are judged at the
 * same old threshold, because a running system has one; the threshold that keeps the FAR is found again in each.
 */
export function measureOperatingPoint(
  { genuine, impostor, searches, keepingFar }: TestScores,
  { far, oldThreshold = keepingFar.threshold }: OperatingPointOptions,
  { identities, drawn, totals, probeIdentity, rng }: ResampledProtocol,
): MeasuredOperatingPoint {
  const tar = tarAbove(genuine, oldThreshold, drawn);
  const { falseAccepts, ...farAtOld } = farAbove(impostor, oldThreshold, { identities, drawn, totals });
  const rates = (threshold: number) => ratesOfProbes(searches, probeIdentity, threshold, drawn);
  const [atOld, atOwn] = [rates(oldThreshold), rates(keepingFar.threshold)];
  const [thresholds] = thresholdReplicates(impostor, [far], drawn, totals);
  const scored = ({ score }: ScoredPairs): boolean => score[0] !== NO_SCORE;
  const result: OperatingPointResult = {
    atOldThreshold: {
      tar: estimateOf(tar),
      far: estimateOf(farAtOld),
      falseAccepts,
      tpir: estimateOf(atOld.tpir),
      fpir: estimateOf(atOld.fpir),
    },
    keepingFar: {
      threshold: estimate(keepingFar.threshold, thresholds!),
      tar: estimateOf(keepingFar.tar),
      tpir: estimateOf(atOwn.tpir),
      fpir: estimateOf(atOwn.fpir),
    },
    calibration:
      scored(genuine) && scored(impostor)
        ? chooseCalibration(genuine, impostor, { identities, rng: rng.split('calibration') })
        : null,
  };
  const { threshold, tar: tarKeepingFar } = keepingFar;
  return { result, oldThreshold, threshold, tar, far: farAtOld, falseAccepts, tarKeepingFar };
}

type Resampled = Measured & { readonly replicates: Float64Array };

/** Share of genuine pairs with a score above a fixed threshold. */
export function tarAbove({ score, a }: ScoredPairs, threshold: number, drawn: Resamples): Resampled {
  const accepted = countAboveFalling(score, threshold);
  const all = totalWeights(a, drawn);
  const first = new Int32Array(drawn.length).fill(accepted);
  return {
    value: accepted / score.length,
    replicates: prefixWeights(a, first, drawn).map((weight, r) => weight / all[r]!),
  };
}

/** Share of impostor pairs with a score above a fixed threshold, and how many these are. */
export function farAbove(
  { score, a, b }: ScoredPairs,
  threshold: number,
  { identities, drawn, totals }: Pick<ResampledProtocol, 'identities' | 'drawn' | 'totals'>,
): Resampled & { readonly falseAccepts: number } {
  const falseAccepts = countAboveFalling(score, threshold);
  const accepted = pairCounts({ a: a.subarray(0, falseAccepts), b: b.subarray(0, falseAccepts) }, identities);
  return {
    value: falseAccepts / score.length,
    replicates: impostorWeights(accepted, drawn).map((weight, r) => weight / totals[r]!),
    falseAccepts,
  };
}

/** TPIR and FPIR at a fixed threshold, means over the galleries. `identity` [P]: the resampled identity of each probe. */
export const ratesOfProbes = (
  searches: readonly Searches[],
  identity: Int32Array,
  threshold: number,
  drawn: Resamples,
): { readonly tpir: Resampled; readonly fpir: Resampled } => ({
  tpir: probeRate(searches, identity, isHitAbove(threshold), drawn),
  fpir: probeRate(searches, identity, isAlarmAbove(threshold), drawn),
});

/** What counts for a rate over probes: a probe that does (1) or does not (0), or is not asked (null). */
type ProbeOutcome = (found: Searches, probe: number) => 0 | 1 | null;
const isHitAbove =
  (threshold: number): ProbeOutcome =>
  ({ own, ahead }, i) =>
    ahead[i]! < 0 ? null : ahead[i] === 0 && own[i]! > threshold ? 1 : 0;
const isAlarmAbove =
  (threshold: number): ProbeOutcome =>
  ({ best, ahead }, i) =>
    ahead[i]! >= 0 ? null : best[i]! > threshold ? 1 : 0;

/** A rate over the probes of each gallery, mean over the galleries. Only probes are resampled. */
function probeRate(searches: readonly Searches[], identity: Int32Array, of: ProbeOutcome, drawn: Resamples): Resampled {
  const identities = drawn[0]?.length ?? 0;
  const galleries = searches.map((found) => {
    const [hits, asked] = [new Float64Array(identities), new Float64Array(identities)];
    for (let i = 0; i < identity.length; i++) {
      const outcome = of(found, i);
      if (outcome === null) continue;
      hits[identity[i]!]! += outcome;
      asked[identity[i]!]!++;
    }
    return { hits, asked };
  });
  const total = (counts: Float64Array): number => counts.reduce((sum, n) => sum + n, 0);
  return {
    value: mean(galleries.map(({ hits, asked }) => total(hits) / total(asked))),
    replicates: Float64Array.from(drawn, (weights) =>
      mean(galleries.map(({ hits, asked }) => weightedSum(hits, weights) / weightedSum(asked, weights))),
    ),
  };
}
