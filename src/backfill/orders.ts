import type { Rng } from '../base/rng.ts';
import { cosine, type Embeddings } from '../eval/scores.ts';
import { predictByFeatures } from './predict-by-features.ts';

/** What the orders are made of. All rows of N, of length 1 where nothing else is said. */
export type OrderInputs = {
  /** The old embeddings, and the lengths that the model gave them. [N] */
  readonly old: Embeddings;
  readonly oldLength: Float64Array;
  /** Old and new embeddings of the same images in the one space in which new queries meet rows that are not moved. */
  readonly meeting: { readonly old: Embeddings; readonly new: Embeddings };
  readonly labels: Int32Array;
};

/** Relative difference of lengths below which a model's embeddings tell nothing by them. */
const LEAST_SPREAD = 1e-3;

/** The rows by falling key; equal keys by position. [N] */
export function byFalling(key: ArrayLike<number>): Int32Array {
  return Int32Array.from({ length: key.length }, (_, row) => row).sort((x, y) =>
    key[x] === key[y] ? x - y : key[y]! > key[x]! ? 1 : -1,
  );
}

export const randomOrder = (rows: number, rng: Rng): Int32Array =>
  Int32Array.from(rng.sample(Int32Array.from({ length: rows }, (_, row) => row), rows)); // biome-ignore format: short

/**
 * The most uncertain old embeddings first: the shortest. A model's embedding of an image that it knows nothing about is short, which
 * is why face recognition takes the length for quality. → null if all but zeros have nearly the same length, as after a division by it
 */
export function uncertainFirst({ oldLength }: OrderInputs): Int32Array | null {
  const [least, most] = oldLength
    .filter((length) => length > 0)
    .reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)] as const, [Number.POSITIVE_INFINITY, 0] as readonly [
      number,
      number,
    ]);
  return most - least > LEAST_SPREAD * most ? byFalling(oldLength.map((length) => -length)) : null;
}

/** 1 - cosine of the old and the new embedding of each image where they meet. [N] */
export const disagreements = ({ meeting: { old, new: moved }, labels }: OrderInputs): Float64Array =>
  Float64Array.from(labels, (_, row) => 1 - Math.max(-1, cosine(moved.rows, row, old.rows, row, old.dim)));

/** The rows on which old and new model differ most first. */
export const byDisagreement = (inputs: OrderInputs): Int32Array => byFalling(disagreements(inputs));

/**
 * The same, of a prediction from old embeddings alone: linear in them and in their length, fitted on identities other than
 * the row's. It stands for a fit on training images, for which both embeddings are there before any of the gallery is moved. → null
 * if there are too few identities
 */
export function byPredictedDisagreement(inputs: OrderInputs, rng: Rng): Int32Array | null {
  const { old, oldLength, labels } = inputs;
  const predicted = predictByFeatures({ ...old, extra: oldLength }, disagreements(inputs), labels, rng);
  return predicted && byFalling(predicted);
}

/** Old embeddings by their cosine with the mean of their class, the nearest first or last. */
export function byNearnessToMean({ old: { rows, dim }, labels }: OrderInputs, which: 'first' | 'last'): Int32Array {
  const classes = labels.reduce((most, label) => Math.max(most, label), -1) + 1;
  const sums = new Float32Array(classes * dim);
  for (const [row, label] of labels.entries())
    for (let d = 0; d < dim; d++) sums[label * dim + d]! += rows[row * dim + d]!;
  const lengths = Float64Array.from({ length: classes }, (_, label) =>
    Math.hypot(...sums.subarray(label * dim, (label + 1) * dim)),
  );
  const nearness = Float64Array.from(labels, (label, row) => {
    const length = lengths[label]!;
    let product = 0;
    for (let d = 0; d < dim; d++) product += sums[label * dim + d]! * rows[row * dim + d]!;
    return length > 0 ? product / length : 0;
  });
  return byFalling(which === 'first' ? nearness : nearness.map((x) => -x));
}
