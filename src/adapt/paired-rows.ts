import { scope, share, type Tensor, to } from '../torch/index.ts';

/**
 * Embeddings of the same images by two models. An adapter maps x, the embeddings of one, into the space of y, the other's.
 * All rows have length 1: only directions are compared.
 */
export type PairedRows = {
  /** P, Q */
  readonly dims: { readonly x: number; readonly y: number };
  /** Rows at positions, flat [K · P] and [K · Q]. */
  read(rows: Int32Array): { readonly x: Float32Array; readonly y: Float32Array };
};

/** Rows read at a time: bounds the memory of a pass over all of them. */
export const ROWS_AT_ONCE = 8192;

/** Calls `visit` with each block of the rows as float32 tensors [K, P] and [K, Q], which live until it returns. */
export function forEachBlock(
  { dims, read }: PairedRows,
  rows: Int32Array,
  visit: (x: Tensor, y: Tensor) => void,
  block = ROWS_AT_ONCE,
): void {
  for (let from = 0; from < rows.length; from += block)
    scope(() => {
      const { x, y } = read(rows.subarray(from, from + block));
      const count = x.length / dims.x;
      visit(share(x, { shape: [count, dims.x] }), share(y, { shape: [count, dims.y] }));
    });
}

export const float64 = (x: Tensor): Tensor => to(x, { dtype: 'float64' });
export const float32 = (x: Tensor): Tensor => to(x, { dtype: 'float32' });
