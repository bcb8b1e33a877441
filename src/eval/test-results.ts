import { estimate, probeReplicates, type Resamples, tpirReplicates } from './bootstrap.ts';
import { identificationBands } from './curve-bands.ts';
import type { Band, IdentificationResult, Measured, VerificationResult } from './evaluation.ts';
import {
  CMC_RANKS,
  countTiedSearches,
  cumulativeMatchCurve,
  FPIR_CURVE,
  FPIR_TARGETS,
  NEVER_FOUND,
  nonMatedScores,
  RANKS,
  type Searches,
  thresholdAtFpir,
} from './identification.ts';
import { mean } from './mean.ts';
import { eer } from './metrics/eer.ts';
import { judges, metrics } from './metrics/index.ts';
import type { IdentificationTest, ProtocolKind, VerificationTest } from './metrics/metric.ts';
import { auc, countAbove, FAR_TARGETS, tarNearest } from './roc.ts';

/** FAR at which curves are drawn. */
const FAR_CURVE: readonly number[] = Array.from({ length: 121 }, (_, i) => 10 ** (-6 + i / 20));
/** FPIR whose TPIR gets an interval. */
const FPIR_WITH_INTERVAL: readonly number[] = [1e-2, 1e-1];

export const intervalOf = ({ value, replicates }: Measured) => replicates && estimate(value, replicates);

type VerificationOptions = {
  /** The largest TAR at a FAR of at most `far`. */
  readonly tarAtMost: (far: number) => number;
  /** The score above which it accepts pairs, where it is a cosine. */
  readonly thresholdAtMost?: (far: number) => number;
  /** FAR whose TAR gets an interval. */
  readonly withInterval: readonly number[];
  readonly tied: number;
  readonly band?: Band | undefined;
};

/** The verification part of a test in evaluation.json. */
export function verificationResult(
  test: VerificationTest,
  { tarAtMost, thresholdAtMost, withInterval, tied, band }: VerificationOptions,
): VerificationResult {
  const { curve } = test;
  return {
    auc: auc(curve),
    eer: eer.measure(test).value,
    tar: FAR_TARGETS.map((far) => ({
      far,
      nearest: tarNearest(curve, far),
      atMost: tarAtMost(far),
      ...(thresholdAtMost && { threshold: thresholdAtMost(far) }),
      interval: withInterval.includes(far) ? intervalOf(test.tar(far)) : null,
    })),
    curve: { far: FAR_CURVE, tar: FAR_CURVE.map(tarAtMost) },
    ...(band && { band }),
    tied,
  };
}

/**
 * A test of 1:N identification, and its part of evaluation.json. Means over probes are over the searches of all galleries, whose
 * identities are disjoint; TPIR is the mean over galleries. `identity` [P]: the resampled identity of each probe.
 */
export function identificationTest(
  searches: readonly Searches[],
  identity: Int32Array,
  resamples: Resamples,
  { bands = false }: { readonly bands?: boolean } = {},
): { readonly test: IdentificationTest; readonly result: IdentificationResult } {
  const galleries = searches.map((found) => ({
    nonMated: nonMatedScores(found),
    hits: found.own.filter((_, i) => found.ahead[i] === 0).sort(),
    mated: found.ahead.filter((n) => n >= 0),
  }));
  const tpirAt = (fpir: number): number =>
    mean(
      galleries.map(({ nonMated, hits, mated }) => countAbove(hits, thresholdAtFpir(nonMated, fpir)) / mated.length),
    );
  const meanAt = (of: (rank: number) => number): number =>
    galleries.reduce((sum, { mated }) => sum + mean(Array.from(mated, (n) => of(rankOf(n)))) * mated.length, 0) /
    galleries.reduce((sum, { mated }) => sum + mated.length, 0);
  const tpirs = tpirReplicates(searches, identity, FPIR_WITH_INTERVAL, resamples);
  const test: IdentificationTest = {
    meanOverProbes: (of) => ({
      value: meanAt(of),
      replicates: probeReplicates(searches, identity, (ahead) => of(rankOf(ahead)), resamples),
    }),
    tpir: (fpir) => ({
      value: tpirAt(fpir),
      replicates: tpirs[FPIR_WITH_INTERVAL.indexOf(fpir)] ?? tpirReplicates(searches, identity, [fpir], resamples)[0]!,
    }),
  };
  const mostRank = Math.min(CMC_RANKS, ...searches.map(({ size }) => size));
  const hitRate = (rank: number) => (of: number) => (of <= rank ? 1 : 0);
  return {
    test,
    result: {
      ranks: RANKS.map((rank) => ({
        rank,
        rate: meanAt(hitRate(rank)),
        interval: rank === 1 ? intervalOf(test.meanOverProbes(hitRate(rank))) : null,
      })),
      tpir: FPIR_TARGETS.map((fpir) => ({
        fpir,
        rate: tpirAt(fpir),
        interval: FPIR_WITH_INTERVAL.includes(fpir) ? intervalOf(test.tpir(fpir)) : null,
      })),
      curve: { fpir: FPIR_CURVE, tpir: FPIR_CURVE.map(tpirAt) },
      cmc: cumulativeMatchCurve(searches, mostRank),
      ...(bands && identificationBands(searches, identity, resamples, mostRank)),
      tied: searches.reduce((sum, found) => sum + countTiedSearches(found), 0),
    },
  };
}

const rankOf = (ahead: number): number => (ahead === NEVER_FOUND ? Number.POSITIVE_INFINITY : ahead + 1);

/** The metrics of one test by name: those that verdicts of the protocol use, and those that evaluation.json lists by name. */
export function measureMetrics(
  protocol: ProtocolKind,
  {
    verification,
    identification,
  }: { verification: VerificationTest | null; identification: IdentificationTest | null },
): ReadonlyMap<string, Measured> {
  const measured = new Map<string, Measured>();
  for (const metric of metrics) {
    if (metric.stored && !judges(metric, protocol)) continue;
    const value =
      metric.test === 'verification'
        ? verification && metric.measure(verification)
        : identification && metric.measure(identification);
    if (value) measured.set(metric.name, value);
  }
  return measured;
}

/** `metrics` of a test in evaluation.json; absent if all metrics are stored elsewhere. */
export function listedMetrics(measured: ReadonlyMap<string, Measured>) {
  const listed = metrics.flatMap(({ name, stored }) => {
    const found = stored ? undefined : measured.get(name);
    return found ? [{ name, value: found.value, interval: intervalOf(found) }] : [];
  });
  return listed.length > 0 ? { metrics: listed } : {};
}
