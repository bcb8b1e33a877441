import { add, add_, div, matmul, mul, sub, sum, type Tensor, transpose, zeros } from '../torch/index.ts';
import { float64, forEachBlock, type PairedRows } from './paired-rows.ts';

/**
 * Sums over pairs of rows, in float64. Every linear fit and its error on other rows follow from them, so cross-validation reads
 * the rows once. They belong to the caller's scope.
 */
export type Moments = {
  readonly count: number;
  /** Σ x [1, P] and Σ y [1, Q] */
  readonly x: Tensor;
  readonly y: Tensor;
  /** Σ xᵀx [P, P] and Σ xᵀy [P, Q] */
  readonly xx: Tensor;
  readonly xy: Tensor;
};

export function momentsOf(pairs: PairedRows, rows: Int32Array): Moments {
  const { x: p, y: q } = pairs.dims;
  const blank = (height: number, width: number): Tensor => zeros([height, width], { dtype: 'float64' });
  const sums = { x: blank(1, p), y: blank(1, q), xx: blank(p, p), xy: blank(p, q) };
  forEachBlock(pairs, rows, (x32, y32) => {
    const [x, y] = [float64(x32), float64(y32)];
    add_(sums.x, sum(x, { dim: 0, keepDim: true }));
    add_(sums.y, sum(y, { dim: 0, keepDim: true }));
    add_(sums.xx, matmul(transpose(x), x));
    add_(sums.xy, matmul(transpose(x), y));
  });
  return { count: rows.length, ...sums };
}

/** Moments of all the rows of several. */
export const totalMoments = (parts: readonly Moments[]): Moments =>
  parts.reduce((a, b) => ({
    count: a.count + b.count,
    x: add(a.x, b.x),
    y: add(a.y, b.y),
    xx: add(a.xx, b.xx),
    xy: add(a.xy, b.xy),
  }));

/** Means [1, P] and [1, Q]. */
export type Means = { readonly x: Tensor; readonly y: Tensor };
export const meansOf = ({ count, x, y }: Moments): Means => ({ x: div(x, count), y: div(y, count) });

/** Σ (x - x̄)ᵀ(x - x̄) and Σ (x - x̄)ᵀ(y - ȳ) about given means. */
export type CentredMoments = Pick<Moments, 'xx' | 'xy'>;

export function centredMoments(moments: Moments, means: Means): CentredMoments {
  const { count, x, y, xx, xy } = moments;
  const about = (products: Tensor, left: Tensor, right: Tensor, a: Tensor, b: Tensor): Tensor => {
    const shifts = add(matmul(transpose(left), b), matmul(transpose(a), right));
    return add(sub(products, shifts), mul(matmul(transpose(a), b), count));
  };
  return { xx: about(xx, x, x, means.x, means.x), xy: about(xy, x, y, means.x, means.y) };
}
