import { NonFiniteError, optionHint, UserError } from '../base/errors.ts';
import { MAX_ZERO_SHARE } from './defaults.ts';
import type { Pairs } from './labelled-set-protocol.ts';

/** Rows of numbers, flat [N · D]. */
export type Rows = Float32Array | Float64Array;

/** Embeddings of the evaluation set, rows of length 1 (zero rows stay zero): flat [N · D]. */
export type Embeddings = { readonly rows: Float32Array; readonly dim: number };

/**
 * The score of a pair in which one embedding is zeros. It is below every threshold, so the pair is never accepted and never
 * found. NIST's FRVT has the same rule for images without a template.
 */
export const NO_SCORE = Number.NEGATIVE_INFINITY;

/** Below this, cosines of templates differ by the order in which they were summed, not by what templates show: they are rounded to it. */
export const GRID = 2 ** -40;

/**
 * Divides rows by their length, in `unit` if it is given (`rows` itself for one). Messages call them `name`.
 * @throws NonFiniteError if a value is not finite.
 */
export function unitEmbeddings(
  rows: Float32Array,
  dim: number,
  name: string,
  unit: Float32Array = new Float32Array(rows.length),
): Embeddings {
  for (let start = 0; start < rows.length; start += dim) {
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += rows[start + d]! ** 2;
    if (!Number.isFinite(sum))
      throw new NonFiniteError(`${name}: row ${start / dim} is not finite`, {
        hint: 'the model that made it has diverged: train it again with a lower learning rate',
      });
    const scale = sum > 0 ? 1 / Math.sqrt(sum) : 0;
    for (let d = 0; d < dim; d++) unit[start + d] = rows[start + d]! * scale;
  }
  return { rows: unit, dim };
}

/** Whether the row that starts at `start` is zeros, which is no embedding. */
export function isZeroRow(rows: Rows, start: number, dim: number): boolean {
  for (let d = 0; d < dim; d++) if (rows[start + d] !== 0) return false;
  return true;
}

/** Positions of rows that are zeros, ascending. */
export function zeroRows(rows: Rows, dim: number): number[] {
  const found: number[] = [];
  for (let start = 0; start < rows.length; start += dim) if (isZeroRow(rows, start, dim)) found.push(start / dim);
  return found;
}

/**
 * How many `zeros` a model has among `of` embeddings.
 * @throws UserError if their share is above `most`: metrics would describe the other embeddings.
 */
export function requireFewZeros(
  name: string,
  { size: zeros }: ReadonlySet<number>,
  {
    of,
    most = MAX_ZERO_SHARE,
    what = 'embeddings',
  }: { readonly of: number; readonly most?: number | undefined; readonly what?: string },
): number {
  if (zeros <= most * of) return zeros;
  throw new UserError(
    `${name}: ${zeros} of ${of} ${what} are zeros (${((100 * zeros) / of).toFixed(2)} %), wanted at most ${100 * most} %`,
    {
      hint: [
        'the model or its extraction is broken',
        optionHint('--max-zero-share 1 evaluates all the same, zeros count as misses'),
      ],
    },
  );
}

/** Limits a cosine to -1 … 1, which rounding may exceed. */
export const clampCosine = (cosine: number): number => (cosine > 1 ? 1 : cosine < -1 ? -1 : cosine);

/**
 * Cosine of row `i` of `a` with row `j` of `b`, both of length 1, summed in double precision from the first dimension to the
 * last. Equal rows have equal cosines wherever they lie, which a product of matrices does not guarantee.
 */
export function cosine(a: Rows, i: number, b: Rows, j: number, dim: number): number {
  const [from, other] = [i * dim, j * dim];
  let sum = 0;
  for (let d = 0; d < dim; d++) sum += a[from + d]! * b[other + d]!;
  return cosineOfSum(sum, a, from, b, other, dim);
}

const cosineOfSum = (sum: number, a: Rows, from: number, b: Rows, other: number, dim: number): number =>
  sum === 0 && (isZeroRow(a, from, dim) || isZeroRow(b, other, dim)) ? NO_SCORE : clampCosine(sum);

/** `cosine` of each pair: the gallery side from one model, the query side from another. [K] */
export function pairScores(query: Embeddings, gallery: Embeddings, pairs: Pairs): Float32Array {
  const { rows: a, dim } = query;
  const b = gallery.rows;
  const scores = new Float32Array(pairs.query.length);
  let i = 0;
  // four independent sums at a time: an addition does not wait for the three others
  for (; i + 4 <= scores.length; i += 4) {
    const [a0, b0] = [pairs.query[i]! * dim, pairs.gallery[i]! * dim];
    const [a1, b1] = [pairs.query[i + 1]! * dim, pairs.gallery[i + 1]! * dim];
    const [a2, b2] = [pairs.query[i + 2]! * dim, pairs.gallery[i + 2]! * dim];
    const [a3, b3] = [pairs.query[i + 3]! * dim, pairs.gallery[i + 3]! * dim];
    let [sum0, sum1, sum2, sum3] = [0, 0, 0, 0];
    for (let d = 0; d < dim; d++) {
      sum0 += a[a0 + d]! * b[b0 + d]!;
      sum1 += a[a1 + d]! * b[b1 + d]!;
      sum2 += a[a2 + d]! * b[b2 + d]!;
      sum3 += a[a3 + d]! * b[b3 + d]!;
    }
    scores[i] = cosineOfSum(sum0, a, a0, b, b0, dim);
    scores[i + 1] = cosineOfSum(sum1, a, a1, b, b1, dim);
    scores[i + 2] = cosineOfSum(sum2, a, a2, b, b2, dim);
    scores[i + 3] = cosineOfSum(sum3, a, a3, b, b3, dim);
  }
  for (; i < scores.length; i++) scores[i] = cosine(a, pairs.query[i]!, b, pairs.gallery[i]!, dim);
  return scores;
}
