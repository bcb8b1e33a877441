import { FileError, UserError } from '../base/errors.ts';
import { firstIndexWhere } from './binary-search.ts';
import { isZeroRow } from './scores.ts';
import { CANCELLATION_LIMIT } from './templates.ts';

/** Candidate thresholds of the squared distance: 0, 0.01, …, 3.99. */
const THRESHOLDS = Array.from({ length: 400 }, (_, i) => i * 0.01);

/** Embeddings of a pack's images and of their mirror images, flat [2P · D]. */
export type PackEmbeddings = {
  readonly original: ArrayLike<number>;
  readonly mirrored: ArrayLike<number>;
  readonly dim: number;
};

/** Accuracy of verification; each fold uses the threshold that is best on the other folds. */
export type FoldedAccuracy = {
  readonly mean: number;
  /** Population standard deviation over the folds. */
  readonly std: number;
  readonly folds: readonly number[];
  readonly thresholds: readonly number[];
};

/**
 * Embeddings of a verification pack: the sum of an image's and its mirror image's, divided by its length. A row is zeros if both
 * are, or if they cancel. Rows 2p and 2p + 1 make pair p. `meanNorm` is the mean length of a single embedding, which the
 * reference logs as XNorm. Source: methods.md 2.11.
 */
export function packEmbeddings({ original, mirrored, dim }: PackEmbeddings): {
  readonly rows: Float64Array;
  readonly meanNorm: number;
} {
  const rows = Float64Array.from(original, (v, k) => v + mirrored[k]!);
  const count = rows.length / dim;
  const lengthOf = (x: ArrayLike<number>, row: number): number => {
    let sum = 0;
    for (let k = row * dim; k < (row + 1) * dim; k++) sum += x[k]! ** 2;
    return Math.sqrt(sum);
  };
  let norms = 0;
  for (let row = 0; row < count; row++) {
    const both = lengthOf(original, row) + lengthOf(mirrored, row);
    norms += both;
    const length = lengthOf(rows, row);
    if (length > CANCELLATION_LIMIT * both) for (let d = 0; d < dim; d++) rows[row * dim + d]! /= length;
    else rows.fill(0, row * dim, (row + 1) * dim);
  }
  return { rows, meanNorm: norms / (2 * count) };
}

/**
 * Squared distance of each pair: row 2p by the gallery's model, row 2p + 1 by the query's, which is the same in a self-test. NaN
 * if one of both is zeros. flat [2P · D] each → [P]
 */
export function pairDistances(gallery: Float64Array, query: Float64Array, dim: number): Float64Array {
  return Float64Array.from({ length: gallery.length / (2 * dim) }, (_, p) => {
    const [a, b] = [2 * p * dim, (2 * p + 1) * dim];
    if (isZeroRow(gallery, a, dim) || isZeroRow(query, b, dim)) return Number.NaN;
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += (gallery[a + d]! - query[b + d]!) ** 2;
    return sum;
  });
}

/** Contiguous folds of a pack (methods.md 2.11). */
const FOLDS = 10;

/**
 * Checks that ten-fold accuracy means something.
 * @throws FileError naming the pack if it has too few pairs, or only genuine or only impostor pairs.
 */
export function requireFoldablePairs(path: string, same: readonly boolean[]): void {
  const hint = `wanted ${FOLDS} pairs or more, some genuine and some impostors`;
  if (same.length < FOLDS) throw new FileError(path, `${same.length} pairs do not fill ${FOLDS} folds`, hint);
  if (same.every((label) => label === same[0]))
    throw new FileError(path, `all ${same.length} pairs are ${same[0] ? 'genuine' : 'impostors'}`, hint);
}

/**
 * K-fold verification accuracy with contiguous folds; the first ones are larger by one if they cannot be equal. A pair is accepted
 * if its squared distance is below the threshold. Of equally good thresholds the smallest is used. Thresholds are fixed in advance,
 * so equal distances get equal answers. A distance of NaN is always a wrong answer. Source: methods.md 2.11.
 * @throws UserError if there are fewer pairs than folds.
 */
export function foldedAccuracy(
  distances: ArrayLike<number>,
  same: ArrayLike<boolean>,
  { folds = FOLDS }: { readonly folds?: number } = {},
): FoldedAccuracy {
  const pairs = distances.length;
  if (same.length !== pairs) throw new UserError(`${pairs} distances, but ${same.length} labels`);
  if (pairs < folds) throw new UserError(`${pairs} pairs do not fill ${folds} folds`);
  const sizes = Array.from({ length: folds }, (_, f) => Math.floor(pairs / folds) + (f < pairs % folds ? 1 : 0));
  const starts = sizes.map((_, f) => sizes.slice(0, f).reduce((sum, size) => sum + size, 0));
  const right = sizes.map((size, f) => rightAnswers(distances, same, starts[f]!, starts[f]! + size));
  const all = THRESHOLDS.map((_, t) => right.reduce((sum, fold) => sum + fold[t]!, 0));
  const chosen = right.map((fold) => {
    const elsewhere = all.map((n, t) => n - fold[t]!);
    return elsewhere.indexOf(Math.max(...elsewhere));
  });
  const accuracies = chosen.map((t, f) => right[f]![t]! / sizes[f]!);
  const mean = accuracies.reduce((a, b) => a + b) / folds;
  return {
    mean,
    std: Math.sqrt(accuracies.reduce((sum, a) => sum + (a - mean) ** 2, 0) / folds),
    folds: accuracies,
    thresholds: chosen.map((t) => THRESHOLDS[t]!),
  };
}

/** Counts the right answers of each threshold over pairs [from, to). */
function rightAnswers(distances: ArrayLike<number>, same: ArrayLike<boolean>, from: number, to: number): Int32Array {
  // changes from one threshold to the next: a pair is accepted from its first threshold on
  const changes = new Int32Array(THRESHOLDS.length + 1);
  let right = 0;
  for (let i = from; i < to; i++) {
    if (Number.isNaN(distances[i]!)) continue;
    if (!same[i]) right++;
    changes[firstAbove(distances[i]!)]! += same[i] ? 1 : -1;
  }
  return Int32Array.from(THRESHOLDS, (_, t) => {
    right += changes[t]!;
    return right;
  });
}

/** The first threshold above a distance; their number if none is. */
const firstAbove = (distance: number): number => firstIndexWhere(THRESHOLDS.length, (i) => distance < THRESHOLDS[i]!);
