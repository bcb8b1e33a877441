import { narrow, noGrad, packRows, productsWithRows_, scope, share } from '../torch/index.ts';
import type { Rows } from './scores.ts';

/** Entries of a block of products: 16 MB in single, 32 MB in double precision. */
const BLOCK_ENTRIES = 1 << 22;

/** Rows that are read a block at a time. The next block may reuse the memory. */
export type RowBlocks<T extends Rows> = { readonly count: number; take(from: number, count: number): T };

/** Rows at positions, a block at a time in the same memory. `taken` is the last block. */
export function selectedBlocks<T extends Rows>(
  rows: T,
  positions: Int32Array,
  dim: number,
): RowBlocks<T> & { taken(): T } {
  let block: T | undefined;
  return {
    count: positions.length,
    taken: () => block!,
    take(from, count) {
      const into = block?.subarray(0, count * dim) as T | undefined;
      block = takeRows(rows, positions.subarray(from, from + count), dim, into);
      return block;
    },
  };
}

/** Rows of two sides, of D dimensions. `order`: the rows of `right` that are meant, if not all. [m] */
export type ProductSides<T extends Rows> = {
  readonly left: RowBlocks<T>;
  readonly right: T;
  readonly order?: Int32Array;
  readonly dim: number;
};

/** Some rows of products: flat [count · width], of the rows from place `first` on. The next block reuses the memory. */
export type ProductBlock<T extends Rows> = {
  readonly products: T;
  readonly width: number;
  readonly first: number;
  readonly count: number;
};

/** Has a use for products that are made for another purpose. */
export type ProductUser<T extends Rows> = {
  /** Positions on the right side whose products it needs. */
  readonly columns: Int32Array;
  /** Gets the positions on the left side in the order of the products' rows, and for each on the right its column → what takes all blocks. */
  taker(rows: Int32Array, columnOf: Int32Array): (block: ProductBlock<T>) => void;
};

/**
 * Multiplies every row of `left` [n · D] with every row of `right` [m · D] in their precision, a block of left rows at a time.
 * Rounding depends on the processor, and on processors without AVX2 on the position in the block.
 */
export function eachProductBlock<T extends Rows>(sides: ProductSides<T>, take: (block: ProductBlock<T>) => void): void {
  eachProductBlocks([sides], ([block]) => take(block!));
}

/** `eachProductBlock` in several spaces at once, which have n and m in common but not D: `take` gets the block of each. */
export function eachProductBlocks<T extends Rows>(
  spaces: readonly ProductSides<T>[],
  take: (blocks: readonly ProductBlock<T>[]) => void,
): void {
  const { left: first, right, order, dim } = spaces[0]!;
  const width = order?.length ?? right.length / dim;
  if (first.count === 0 || width === 0) return;
  const height = Math.min(first.count, Math.max(1, Math.floor(BLOCK_ENTRIES / width)));
  const room = spaces.map((space) => emptyLike(space.right, height * width));
  noGrad(() =>
    scope(() => {
      const sides = spaces.map(({ right, order, ...space }, i) => ({
        ...space,
        b: packRows(share(right, { shape: [right.length / space.dim, space.dim] }), order ? share(order) : null),
        into: share(room[i]!, { shape: [height, width] }),
      }));
      for (let from = 0; from < first.count; from += height) {
        const count = Math.min(height, first.count - from);
        for (const { left, dim: d, b, into } of sides)
          scope(() => {
            const a = share(left.take(from, count), { shape: [count, d] });
            productsWithRows_(narrow(into, 0, 0, count), a, b);
          });
        take(room.map((products) => ({ products, width, first: from, count })));
      }
    }),
  );
}

/** Copies the rows at positions, into `into` if it is given. rows [N · D] → [K · D] */
export function takeRows<T extends Rows>(
  rows: T,
  positions: ArrayLike<number>,
  dim: number,
  into: T = emptyLike(rows, positions.length * dim),
): T {
  for (let i = 0; i < positions.length; i++)
    into.set(rows.subarray(positions[i]! * dim, (positions[i]! + 1) * dim), i * dim);
  return into;
}

/** An array of the same type, with whatever its memory holds. */
export const emptyLike = <T extends Rows>(rows: T, length: number): T => {
  const { buffer } = Buffer.allocUnsafeSlow(length * rows.BYTES_PER_ELEMENT);
  return (rows instanceof Float32Array ? new Float32Array(buffer) : new Float64Array(buffer)) as T;
};
