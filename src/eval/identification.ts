import { atMostCount } from './roc.ts';

/** FPIR of a curve: 1e-4 … 1 in a hundred logarithmic steps (methods.md 6.6). `FPIR_TARGETS` are those of tables. */
export const FPIR_CURVE: readonly number[] = Array.from({ length: 101 }, (_, i) => 10 ** (-4 + (4 * i) / 100));
export const FPIR_TARGETS = [1e-4, 1e-3, 1e-2, 1e-1, 1] as const;
export const RANKS = [1, 5, 10] as const;
/** Ranks of a CMC curve, at most: a smaller gallery has fewer. */
export const CMC_RANKS = 50;

/** Results of searching one gallery with every probe. */
export type Searches = {
  /** Entries of the gallery. */
  readonly size: number;
  /** Similarity to the probe's own gallery entry; NaN where the probe's identity is not enrolled. [P] */
  readonly own: Float64Array;
  /** Largest similarity to an entry of another identity. [P] */
  readonly best: Float64Array;
  /**
   * How many entries of others are at least as similar as the own one: 0 is a hit at rank 1, whatever the order of equal
   * entries. -1 if not enrolled; `NEVER_FOUND` if the probe or its own entry is zeros, or their similarity NaN. [P]
   */
  readonly ahead: Int32Array;
  /** How many entries of others are exactly as similar as the own one. [P] */
  readonly equal: Int32Array;
};

/** `ahead` of a probe that no search can find: larger than any gallery. */
export const NEVER_FOUND = 2 ** 31 - 1;

/** Counts the searches in which another entry is exactly as similar as the right one. They count as misses. */
export const countTiedSearches = ({ equal }: Searches): number => equal.reduce((sum, n) => sum + (n > 0 ? 1 : 0), 0);

/** Share of enrolled probes whose own entry is among the `rank` most similar. */
export function hitRate({ ahead }: Pick<Searches, 'ahead'>, rank: number): number {
  const mated = ahead.filter((n) => n >= 0);
  return mated.filter((n) => n < rank).length / mated.length;
}

/** Hit rates at ranks: the share of enrolled probes whose own entry is among the `rank[i]` most similar. */
export type Cmc = { readonly rank: readonly number[]; readonly rate: readonly number[] };

/** Cumulative match characteristic of ranks 1 … `most`, over the enrolled probes of all `searches` together. */
export function cumulativeMatchCurve(searches: readonly Pick<Searches, 'ahead'>[], most: number): Cmc {
  const hits = new Float64Array(most);
  let mated = 0;
  for (const { ahead } of searches)
    for (const n of ahead) {
      if (n < 0) continue;
      mated++;
      if (n < most) hits[n]!++;
    }
  for (let i = 1; i < most; i++) hits[i]! += hits[i - 1]!;
  return { rank: Array.from(hits.keys(), (i) => i + 1), rate: Array.from(hits, (n) => n / mated) };
}

/** The highest similarity of each probe that is not enrolled, falling. */
export const nonMatedScores = ({ best, ahead }: Pick<Searches, 'best' | 'ahead'>): Float64Array =>
  best
    .filter((_, i) => ahead[i]! < 0)
    .sort()
    .reverse();

/**
 * The threshold at which a share `fpir` of the probes that are not enrolled are false positives: the max(⌊n·x⌋, 1)-th largest of
 * their scores (6.6). If all probes are enrolled, every score is above it.
 */
export const thresholdAtFpir = (falling: Float64Array, fpir: number): number =>
  falling[Math.max(atMostCount(fpir, falling.length) - 1, 0)] ?? Number.NEGATIVE_INFINITY;

/** True positive identification rate: enrolled probes whose own entry comes first, alone, and lies above the threshold. */
export function tpir({ own, ahead }: Searches, threshold: number): number {
  let [hits, mated] = [0, 0];
  for (let i = 0; i < own.length; i++) {
    if (ahead[i]! < 0) continue;
    mated++;
    if (ahead[i] === 0 && own[i]! > threshold) hits++;
  }
  return hits / mated;
}
