import { type Resamples, weightedSum } from './bootstrap.ts';
import { estimateOf } from './compatibility.ts';
import type { Estimate, Measured } from './evaluation.ts';
import type { Searches } from './identification.ts';
import { type MeasuredOperatingPoint, ratesOfProbes } from './operating-point.ts';

/** Counts by enrolled template; the last one is of all templates without a genuine pair, which resamples do not draw. */
export type TemplateCounts = Float64Array;

/** Adds 1 for each pair that counts to its enrolled template. `cluster`: positions of the resampled templates by id. */
export function countByTemplate(
  counts: TemplateCounts,
  gallery: Int32Array,
  cluster: ReadonlyMap<number, number>,
  isCounted: (pair: number) => boolean,
): void {
  for (let k = 0; k < gallery.length; k++) if (isCounted(k)) counts[cluster.get(gallery[k]!) ?? counts.length - 1]!++;
}

/** What is known of one test of templates at two thresholds. Without 1:N there are no searches. */
export type TemplateScores = {
  readonly oldThreshold: number;
  /** Share of genuine pairs above the old threshold. */
  readonly tar: Measured;
  /** Impostor pairs, and those above the old threshold. */
  readonly impostors: TemplateCounts;
  readonly falseAccepts: TemplateCounts;
  /** The largest TAR that keeps the FAR, and the score that it lies above. */
  readonly keepingFar: { readonly tar: Measured; readonly threshold: number };
  readonly searches: readonly Searches[] | null;
  /** Resamples of the enrolled templates, and of the subjects of probes. */
  readonly templatesDrawn: Resamples;
  readonly subjectsDrawn: Resamples;
  /** The subject of each probe. [P] */
  readonly probeSubject: Int32Array;
};

const UNKNOWN: Estimate = { value: Number.NaN, low: Number.NaN, high: Number.NaN };

/**
 * Measures a test at the threshold of old → old, and at the one that keeps the FAR. Impostor pairs are resampled by their enrolled template
 * alone. All resamples have the same two thresholds, so the one that keeps the FAR has no interval. Scores are not calibrated.
 */
export function measureTemplatesAt(test: TemplateScores): MeasuredOperatingPoint {
  const { oldThreshold, tar, impostors, falseAccepts, keepingFar, searches, templatesDrawn } = test;
  const far: Measured = {
    value: total(falseAccepts) / total(impostors),
    replicates: Float64Array.from(
      templatesDrawn,
      (weights) => resampled(falseAccepts, weights) / resampled(impostors, weights),
    ),
  };
  const ratesAt = searches && ratesOfProbes(searches, test.probeSubject, test.subjectsDrawn);
  const rates = (threshold: number) => {
    const found = ratesAt?.(threshold);
    return { tpir: found ? estimateOf(found.tpir) : UNKNOWN, fpir: found ? estimateOf(found.fpir) : UNKNOWN };
  };
  return {
    result: {
      atOldThreshold: {
        tar: estimateOf(tar),
        far: estimateOf(far),
        falseAccepts: total(falseAccepts),
        ...rates(oldThreshold),
      },
      keepingFar: {
        threshold: { ...UNKNOWN, value: keepingFar.threshold },
        tar: estimateOf(keepingFar.tar),
        ...rates(keepingFar.threshold),
      },
      calibration: null,
    },
    oldThreshold,
    threshold: keepingFar.threshold,
    tar,
    far,
    falseAccepts: total(falseAccepts),
    tarKeepingFar: keepingFar.tar,
  };
}

const total = (counts: TemplateCounts): number => counts.reduce((sum, n) => sum + n, 0);
const resampled = (counts: TemplateCounts, weights: Uint16Array): number =>
  weightedSum(counts.subarray(0, weights.length), weights) + counts[weights.length]!;
