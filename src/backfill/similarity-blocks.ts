import { type SelectedRows, similarityRounding } from '../eval/gallery-search.ts';
import { eachProductBlocks, selectedBlocks, takeRows } from '../eval/product-blocks.ts';
import { NO_SCORE, type Rows, zeroRows } from '../eval/scores.ts';

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
  /** Bound for the error of a similarity. */
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
    const left = selectedBlocks(probes.rows, probes.positions, dim);
    return { dim, left, right, rounding: similarityRounding(right, dim), zeros: zeroRows(right, dim) };
  });
  eachProductBlocks(sides, (found) => {
    const blocks = sides.map(({ dim, left, right: gallery, rounding, zeros }, i) => {
      const { products: similarity, width, count } = found[i]!;
      const probes = left.taken();
      for (const column of zeros) for (let row = 0; row < count; row++) similarity[row * width + column] = NO_SCORE;
      for (const row of zeroRows(probes, dim)) similarity.fill(NO_SCORE, row * width, (row + 1) * width);
      return { dim, similarity, probes, gallery, rounding };
    });
    take(blocks, found[0]!.first, found[0]!.count);
  });
}
