import { unitEmbeddings, zeroRows } from '../eval/index.ts';
import type { FeatureSet } from '../features/index.ts';
import type { PairedRows } from './paired-rows.ts';

/** Rows read at a time. */
const BLOCK = 8192;

/** Positions of the images of which all sets have an embedding that is not zeros. */
export function rowsOfBoth(...sets: readonly FeatureSet[]): Int32Array {
  const { count } = sets[0]!.info;
  const without = new Set<number>();
  for (const set of sets) {
    for (const row of set.missing()) without.add(row);
    for (let from = 0; from < count; from += BLOCK)
      for (const row of zeroRows(set.block(from, Math.min(BLOCK, count - from)), set.info.dim)) without.add(from + row);
  }
  return Int32Array.from({ length: count }, (_, row) => row).filter((row) => !without.has(row));
}

/** Rows of two sets at `positions`, divided by their lengths, read where they are wanted: memory does not grow with N. */
export function pairedRows(x: FeatureSet, y: FeatureSet, positions: Int32Array): PairedRows {
  const unit = (set: FeatureSet, rows: Int32Array): Float32Array => {
    const read = set.rows(rows);
    return unitEmbeddings(read, set.info.dim, set.path, read).rows;
  };
  return {
    dims: { x: x.info.dim, y: y.info.dim },
    read: (rows) => {
      const at = rows.map((row) => positions[row]!);
      return { x: unit(x, at), y: unit(y, at) };
    },
  };
}
