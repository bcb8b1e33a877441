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
 * Measures a test at the old threshold and at the one that keeps the FAR, and calibrates its scores. All resamples are judged at the
 * same old threshold, because a running system has one; the threshold that keeps the FAR is found again in each.
 */
export function measureOperatingPoint(
  { genuine, impostor, searches, keepingFar }: TestScores,
  { far, oldThreshold = keepingFar.threshold }: OperatingPointOptions,
  { identities, drawn, totals, probeIdentity, rng }: ResampledProtocol,
): MeasuredOperatingPoint {
  const tar = tarAbove(genuine, oldThreshold, drawn);
  const { falseAccepts, ...farAtOld } = farAbove(impostor, oldThreshold, { identities, drawn, totals });
  const [thresholds] = thresholdReplicates(impostor, [far], drawn, totals);
  const rates = ratesOfProbes(searches, probeIdentity, drawn);
  const [atOld, atOwn] = [rates(oldThreshold), rates(keepingFar.threshold, thresholds)];
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

/** A rate at a threshold. `thresholds` [R]: those of the resamples; absent: all have the same. */
type RateAt = (threshold: number, thresholds?: Float64Array) => Resampled;

/** TPIR and FPIR at a threshold, means over the galleries. `identity` [P]: the resampled identity of each probe. */
export function ratesOfProbes(searches: readonly Searches[], identity: Int32Array, drawn: Resamples) {
  const [tpir, fpir] = [
    probeRate(searches, identity, hitScore, drawn),
    probeRate(searches, identity, alarmScore, drawn),
  ];
  return (...at: Parameters<RateAt>) => ({ tpir: tpir(...at), fpir: fpir(...at) });
}

/** The score below which a threshold lets a probe count for a rate; -∞: it never counts; null: it is not asked. */
type ProbeScore = (found: Searches, probe: number) => number | null;
const hitScore: ProbeScore = ({ own, ahead }, i) => (ahead[i]! < 0 ? null : ahead[i] === 0 ? own[i]! : NO_SCORE);
const alarmScore: ProbeScore = ({ best, ahead }, i) => (ahead[i]! >= 0 ? null : best[i]!);

/** A rate over the probes of each gallery, mean over the galleries. Only probes are resampled. */
function probeRate(searches: readonly Searches[], identity: Int32Array, scoreOf: ProbeScore, drawn: Resamples): RateAt {
  const galleries = searches.map((found) => {
    const scores = Float64Array.from(identity, (_, i) => scoreOf(found, i) ?? Number.NaN);
    const asked = Int32Array.from(identity.keys()).filter((i) => !Number.isNaN(scores[i]));
    const falling = asked.filter((i) => scores[i] !== NO_SCORE).sort((x, y) => scores[y]! - scores[x]!);
    const identitiesOf = (probes: Int32Array): Int32Array => probes.map((i) => identity[i]!);
    return {
      score: Float64Array.from(falling, (i) => scores[i]!),
      counted: identitiesOf(falling),
      asked: asked.length,
      weights: totalWeights(identitiesOf(asked), drawn),
    };
  });
  return (threshold, thresholds = new Float64Array(drawn.length).fill(threshold)) => {
    const rates = galleries.map(({ score, counted, weights }) => {
      const above = Int32Array.from(thresholds, (each) => countAboveFalling(score, each));
      return prefixWeights(counted, above, drawn).map((weight, r) => weight / weights[r]!);
    });
    return {
      value: mean(galleries.map(({ score, asked }) => countAboveFalling(score, threshold) / asked)),
      replicates: thresholds.map((_, r) => mean(rates.map((rate) => rate[r]!))),
    };
  };
}
