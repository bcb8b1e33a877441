import { type Estimate, estimate, type Resamples, rankReplicates, tpirReplicates } from './bootstrap.ts';
import type { Measured } from './compatibility.ts';
import {
  alarms,
  alarmThreshold,
  CMC_RANKS,
  type Cmc,
  cumulativeMatches,
  FPIR_CURVE,
  FPIR_TARGETS,
  RANKS,
  type Searches,
  tiedSearches,
  topRank,
  tpir,
} from './identification.ts';

/** What 1:1 verification found. */
export type VerificationResult = {
  readonly auc: number;
  readonly eer: number;
  readonly tar: readonly {
    readonly far: number;
    readonly nearest: number;
    readonly atMost: number;
    readonly interval: Estimate | null;
  }[];
  readonly curve: { readonly far: readonly number[]; readonly tar: readonly number[] };
  /** Genuine pairs refused at a FAR of `tar` because their score is exactly an impostor's. Missing from older evaluations. */
  readonly tied?: number;
};

/** What 1:N identification found. */
export type IdentificationResult = {
  readonly ranks: readonly { readonly rank: number; readonly rate: number; readonly interval: Estimate | null }[];
  readonly tpir: readonly { readonly fpir: number; readonly rate: number; readonly interval: Estimate | null }[];
  readonly curve: { readonly fpir: readonly number[]; readonly tpir: readonly number[] };
  /** Missing from evaluations made before there was one. */
  readonly cmc?: Cmc;
  /** Of protocols whose galleries have names: the rates of each, and of searches of all galleries at once. */
  readonly galleries?: readonly {
    readonly name: string;
    readonly ranks: readonly Rate<'rank'>[];
    readonly tpir: readonly Rate<'fpir'>[];
  }[];
  readonly mixed?: readonly Rate<'rank'>[];
  /** Searches that miss because another entry is exactly as similar as the right one. Missing from older evaluations. */
  readonly tied?: number;
};

type Rate<K extends string> = { readonly [key in K | 'rate']: number };

/** A result, and the metrics of it that models are compared by, by name. */
export type Judged<R> = { readonly result: R; readonly measured: ReadonlyMap<string, Measured> };

/** FAR at which curves are drawn. */
export const FAR_CURVE: readonly number[] = Array.from({ length: 121 }, (_, i) => 10 ** (-6 + i / 20));
const FPIR_WITH_INTERVAL = [1e-2, 1e-1] as const;

/**
 * Judges searches of all galleries together: rates of ranks over the union of the searches (identities of galleries are
 * disjoint), TPIR as the mean over galleries. `identity` [P] of each probe, by which `drawn` resamples.
 */
export function judgeSearches(
  searches: readonly Searches[],
  identity: Int32Array,
  drawn: Resamples,
): Judged<IdentificationResult> {
  const falling = searches.map(alarms);
  const tpirAt = (fpir: number): number => mean(searches.map((s, i) => tpir(s, alarmThreshold(falling[i]!, fpir))));
  const mated = searches.map(({ ahead }) => ahead.filter((n) => n >= 0).length);
  const rankRate = (rank: number): number =>
    searches.reduce((sum, s, i) => sum + topRank(s, rank) * mated[i]!, 0) / mated.reduce((a, b) => a + b);
  const rankOne = { value: rankRate(1), replicates: rankReplicates(searches, identity, 1, drawn) };
  const tpirs = tpirReplicates(searches, identity, FPIR_WITH_INTERVAL, drawn);
  const atFpir = new Map(
    FPIR_WITH_INTERVAL.map((fpir, i) => [fpir as number, { value: tpirAt(fpir), replicates: tpirs[i]! }]),
  );
  return {
    result: {
      ranks: RANKS.map((rank) => ({
        rank,
        rate: rankRate(rank),
        interval: rank === 1 ? estimate(rankOne.value, rankOne.replicates) : null,
      })),
      tpir: FPIR_TARGETS.map((fpir) => {
        const known = atFpir.get(fpir);
        return { fpir, rate: tpirAt(fpir), interval: known ? estimate(known.value, known.replicates) : null };
      }),
      curve: { fpir: FPIR_CURVE, tpir: FPIR_CURVE.map(tpirAt) },
      cmc: cumulativeMatches(searches, Math.min(CMC_RANKS, ...searches.map(({ size }) => size))),
      tied: searches.reduce((sum, found) => sum + tiedSearches(found), 0),
    },
    measured: new Map([
      ['rank-1', rankOne],
      ...[...atFpir].map(([fpir, m]) => [`TPIR@FPIR=${exponent(fpir)}`, m] as const),
    ]),
  };
}

const mean = (xs: readonly number[]): number => xs.reduce((sum, x) => sum + x, 0) / xs.length;

/** 0.001 as 1e-3 */
export const exponent = (x: number): string => `1e${Math.round(Math.log10(x))}`;
