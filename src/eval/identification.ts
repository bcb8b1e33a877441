import { largest, narrow, scope, share, to, toFloat64 } from '../torch/index.ts';
import { atMostCount } from './roc.ts';
import { NO_SCORE, type Rows } from './scores.ts';

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

/** The columns of a gallery in rows of similarities: `size` entries from `start` on, of `stride` in a row. */
export type GalleryColumns = { readonly size: number; readonly start?: number; readonly stride?: number };

/**
 * Tells equal entries from nearly equal ones. A product of matrices is off by up to `rounding`, depending on the position in it.
 * `isTied` says whether an entry of the gallery is exactly as similar to a probe as the probe's own.
 */
export type TieCheck = { readonly rounding: number; readonly isTied: (probe: number, entry: number) => boolean };

/**
 * Searches a gallery with one entry per identity. `similarity` [P · stride] row-major, further rows are ignored; `enrolled`
 * [P] gives each probe's entry in the gallery, -1 if it has none. An entry whose similarity is NaN counts as more similar than
 * any other. A row is scanned only if another entry is at least about as similar as the probe's own.
 */
export function search<T extends Rows>(
  similarity: T,
  enrolled: Int32Array,
  { size, start = 0, stride = size }: GalleryColumns,
  { rounding, isTied: same }: TieCheck = { rounding: 0, isTied: () => false },
): Searches {
  const count = enrolled.length;
  const found: Searches = {
    size,
    own: new Float64Array(count).fill(Number.NaN),
    best: largestOfOthers(similarity, enrolled, { size, start, stride }),
    ahead: new Int32Array(count).fill(-1),
    equal: new Int32Array(count),
  };
  for (let probe = 0; probe < count; probe++) {
    const [row, entry] = [probe * stride + start, enrolled[probe]!];
    if (entry < 0) continue;
    const own = similarity[row + entry]!;
    const findable = !Number.isNaN(own) && own !== NO_SCORE;
    found.own[probe] = findable ? own : NO_SCORE;
    found.ahead[probe] = findable ? 0 : NEVER_FOUND;
    const lower = own - rounding;
    if (!findable || found.best[probe]! < lower) continue;
    for (let at = nextFrom(similarity, row, row + size, lower); at < row + size; ) {
      const value = similarity[at]!;
      if (at !== row + entry) {
        const tie = value <= own + rounding && (value === own || same(probe, at - row));
        if (tie) found.equal[probe]!++;
        if (tie || !(value < own)) found.ahead[probe]!++;
      }
      at = nextFrom(similarity, at + 1, row + size, lower);
    }
  }
  return found;
}

/** The first position in [from, to) whose value is not below `least`; `to` if there is none. */
function nextFrom(values: Rows, from: number, to: number, least: number): number {
  let at = from;
  while (at < to && values[at]! < least) at++;
  return at;
}

/** Largest similarity of each probe to an entry that is not its own, infinite if one is NaN. [P] */
function largestOfOthers<T extends Rows>(
  similarity: T,
  enrolled: Int32Array,
  { size, start, stride }: Required<GalleryColumns>,
): Float64Array {
  const count = enrolled.length;
  if (count === 0 || size === 0) return new Float64Array(count).fill(Number.NEGATIVE_INFINITY);
  const own = enrolled.map((entry, probe) => (entry < 0 ? -1 : probe * stride + start + entry));
  const kept = Float64Array.from(own, (at) => similarity[at] ?? 0);
  for (const at of own) if (at >= 0) similarity[at] = Number.NEGATIVE_INFINITY;
  const best = scope(() => {
    const rows = share(similarity.subarray(0, count * stride) as T, { shape: [count, stride] });
    return toFloat64(to(largest(narrow(rows, 1, start, size), 1), { dtype: 'float64' }));
  });
  for (const [probe, at] of own.entries()) if (at >= 0) similarity[at] = kept[probe]!;
  return best.map((value) => (Number.isNaN(value) ? Number.POSITIVE_INFINITY : value));
}

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
