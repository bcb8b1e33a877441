import { UserError } from '../base/errors.ts';
import type { Enrolment } from '../data/index.ts';
import { type Searches, search } from './identification.ts';
import { eachProductBlocks, selectedBlocks, takeRows } from './product-blocks.ts';
import { cosine, NO_SCORE, type Rows, zeroRows } from './scores.ts';
import { type Templates, templatePositions } from './templates.ts';

export type GallerySearches = {
  /** The searches of each gallery with all probes. */
  readonly searches: readonly Searches[];
  /** The searches of all galleries at once. */
  readonly mixed: Searches;
};

/** Rows of length 1 (or zeros), flat [N · D], and the positions of the rows to use. */
export type SelectedRows<T extends Rows> = { readonly rows: T; readonly dim: number; readonly positions: Int32Array };

/** A gallery: `size` entries from `start` on, and each probe's entry in it, -1 if it has none. [P] */
export type GalleryPart = { readonly start: number; readonly size: number; readonly enrolled: Int32Array };

/** Probes and entries in one space. */
export type SearchSpace<T extends Rows> = { readonly probes: SelectedRows<T>; readonly entries: SelectedRows<T> };

/** Similarities of a block of probes to all entries in one space. */
export type SimilarityBlock<T extends Rows> = {
  readonly dim: number;
  /** [rows · entries], `NO_SCORE` where the probe or the entry is zeros; the next block reuses the memory. */
  readonly similarity: T;
  /** The rows that were compared, of the block's probes and of all entries. */
  readonly probes: T;
  readonly gallery: T;
  /** Bound for the error of a similarity: of both sums of D products of unit rows, in any order (Higham, Accuracy and Stability, 3.1). */
  readonly rounding: number;
};

/** Compares all probes with all entries, a block of probes at a time, in each of several spaces that have them in common. */
export function eachSimilarityBlock<T extends Rows>(
  spaces: readonly SearchSpace<T>[],
  take: (blocks: readonly SimilarityBlock<T>[], from: number, rows: number) => void,
): void {
  const sides = spaces.map(({ probes, entries }) => {
    const { dim } = probes;
    const right = takeRows(entries.rows, entries.positions, dim);
    const rounding = 2 * dim * (right instanceof Float32Array ? 2 ** -24 : 2 ** -53);
    const left = selectedBlocks(probes.rows, probes.positions, dim);
    return { dim, left, right, rounding, zeros: zeroRows(right, dim) };
  });
  eachProductBlocks(sides, (products, from, rows) => {
    const blocks = sides.map(({ dim, left, right: gallery, rounding, zeros }, i) => {
      const similarity = products[i]!;
      const [probes, stride] = [left.taken(), gallery.length / dim];
      for (const column of zeros) for (let row = 0; row < rows; row++) similarity[row * stride + column] = NO_SCORE;
      for (const row of zeroRows(probes, dim)) similarity.fill(NO_SCORE, row * stride, (row + 1) * stride);
      return { dim, similarity, probes, gallery, rounding };
    });
    take(blocks, from, rows);
  });
}

/**
 * Searches galleries with all `probes`. Galleries are parts of `entries` and may overlap. Similarities are computed in blocks of
 * probes and never sorted. If an entry equals the right one up to rounding, both are summed again in one order, so that equal
 * entries tie wherever they lie. A probe of zeros has no match, and no probe matches an entry of zeros.
 */
export function searchParts<T extends Rows>(
  probes: SelectedRows<T>,
  entries: SelectedRows<T>,
  parts: readonly GalleryPart[],
): Searches[] {
  const stride = entries.positions.length;
  const count = probes.positions.length;
  const found = parts.map(({ size }) => ({
    size,
    own: new Float64Array(count),
    best: new Float64Array(count),
    ahead: new Int32Array(count),
    equal: new Int32Array(count),
  }));
  eachSimilarityBlock([{ probes, entries }], ([block], from, rows) => {
    const { similarity, probes: left, gallery, dim, rounding } = block!;
    for (const [i, { start, size, enrolled }] of parts.entries()) {
      const own = enrolled.subarray(from, from + rows);
      const score = (probe: number, entry: number): number => cosine(left, probe, gallery, start + entry, dim);
      const same = (probe: number, entry: number): boolean => score(probe, entry) === score(probe, own[probe]!);
      const part = search(similarity, own, { start, size, stride }, { rounding, isTied: same });
      for (const name of ['own', 'best', 'ahead', 'equal'] as const) found[i]![name].set(part[name], from);
    }
  });
  return found;
}

/**
 * Open-set 1:N identification with templates (methods.md 6.6): every probe searches every gallery. In a cross-test the gallery
 * entries are the old model's, the probes the new one's.
 * @throws UserError if two entries of a gallery show one subject, or a subject is in two galleries: ranks and false
 * positives of its probes would not be defined.
 */
export function searchGalleries(
  gallery: Templates,
  query: Templates,
  galleries: readonly Enrolment[],
  probes: Enrolment,
): GallerySearches {
  if (gallery.dim !== query.dim)
    throw new UserError(`templates of ${gallery.dim} and of ${query.dim} dimensions cannot be compared`);
  const entryOf = new Map<number, number>();
  for (const subject of galleries.flatMap(({ subjects }) => Array.from(subjects))) {
    if (entryOf.has(subject)) throw new UserError(`subject ${subject} has two gallery entries, wanted one`);
    entryOf.set(subject, entryOf.size);
  }
  const sizes = galleries.map(({ templates }) => templates.length);
  const starts = sizes.map((_, g) => sizes.slice(0, g).reduce((sum, size) => sum + size, 0));
  const entries = Int32Array.from(probes.subjects, (subject) => entryOf.get(subject) ?? -1);
  const all = galleries.flatMap(({ templates }) => Array.from(templates));
  const parts = sizes.map((size, g) => ({
    start: starts[g]!,
    size,
    enrolled: entries.map((entry) => (entry >= starts[g]! && entry < starts[g]! + size ? entry - starts[g]! : -1)),
  }));
  const found = searchParts(
    { ...query, positions: templatePositions(query, probes.templates) },
    { ...gallery, positions: templatePositions(gallery, all) },
    [...parts, { start: 0, size: all.length, enrolled: entries }],
  );
  return { searches: found.slice(0, -1), mixed: found.at(-1)! };
}
