import { narrow, noGrad, product_, scope, share, transpose } from '../torch/index.ts';

/** Entries of a block of products: 32 MB. */
const BLOCK_ENTRIES = 1 << 22;

/**
 * Products of every row of `left` [n · D] with every row of `right` [m · D] in double precision, a block of left rows at a
 * time: `take` gets them as [count · m] with the position of the first row. The block's memory is used again.
 */
export function eachProductBlock(
  left: Float64Array,
  right: Float64Array,
  dim: number,
  take: (products: Float64Array, from: number, count: number) => void,
): void {
  const [rows, width] = [left.length / dim, right.length / dim];
  if (rows === 0 || width === 0) return;
  const height = Math.min(rows, Math.max(1, Math.floor(BLOCK_ENTRIES / width)));
  const block = new Float64Array(height * width);
  noGrad(() =>
    scope(() => {
      const [a, b] = [share(left, { shape: [rows, dim] }), transpose(share(right, { shape: [width, dim] }))];
      const into = share(block, { shape: [height, width] });
      for (let from = 0; from < rows; from += height) {
        const count = Math.min(height, rows - from);
        scope(() => void product_(narrow(into, 0, 0, count), narrow(a, 0, from, count), b));
        take(block, from, count);
      }
    }),
  );
}

/** Rows at positions, flat. rows [N · D] → [K · D] */
export function takeRows(rows: Float64Array, positions: ArrayLike<number>, dim: number): Float64Array {
  const taken = new Float64Array(positions.length * dim);
  for (let i = 0; i < positions.length; i++)
    taken.set(rows.subarray(positions[i]! * dim, (positions[i]! + 1) * dim), i * dim);
  return taken;
}
