import {
  clamp,
  div_,
  meanOfRuns,
  mul_,
  norm,
  scope,
  selectRows,
  share,
  sub_,
  type Tensor,
  tensor,
  toFloat32,
} from '../torch/index.ts';

/** What is derived from features reads: any object with rows at positions. */
export type Rows = {
  readonly info: { readonly dim: number; readonly count: number; readonly classes: number };
  /** Embeddings at positions, flat [K · D], for the caller to change; written to `into` if it is given and they fit. */
  rows(indices: ArrayLike<number>, into?: Float32Array): Float32Array;
  labels(): Int32Array;
};

/** Positions of each class's rows, by label, in order. A class without rows has an empty list. labels [N] */
export function rowsByClass(labels: Int32Array, classes: number): Int32Array[] {
  const { order, starts } = sortByClass(labels, classes);
  return Array.from({ length: classes }, (_, label) => order.subarray(starts[label], starts[label + 1]));
}

/** Positions [N] class by class, in order within each, and where each class starts among them [C + 1]. */
function sortByClass(labels: Int32Array, classes: number): { readonly order: Int32Array; readonly starts: Int32Array } {
  const starts = new Int32Array(classes + 1);
  for (let row = 0; row < labels.length; row++) starts[labels[row]! + 1]!++;
  for (let label = 0; label < classes; label++) starts[label + 1]! += starts[label]!;
  const next = starts.slice();
  const order = new Int32Array(labels.length);
  for (let row = 0; row < labels.length; row++) order[next[labels[row]!]!++] = row;
  return { order, starts };
}

/** Rows of a few whole classes. */
export type ClassBlock = {
  /** The first of its classes. */
  readonly first: number;
  /** Where in the block each class starts, and where the last one ends. [K + 1] */
  readonly starts: Int32Array;
  /** Positions of the rows, class by class. [R] */
  readonly rows: Int32Array;
  /** Their embeddings, flat [R · D]; good until the next block, for the caller to change. */
  readonly data: Float32Array;
};

/** As many as stay in a processor's cache. */
const BLOCK_ELEMENTS = 1 << 19;

/**
 * All rows by class, each class in one block. Blocks are read one after the other, so that memory holds one block or one
 * class, whatever N is; where rows are in the order of their classes, each is one stretch of the file.
 */
export function* classBlocks(features: Rows): Generator<ClassBlock> {
  const { dim, classes } = features.info;
  const { order, starts } = sortByClass(features.labels(), classes);
  const most = Math.max(1, Math.floor(BLOCK_ELEMENTS / dim));
  let buffer = new Float32Array(most * dim);
  for (let first = 0; first < classes; ) {
    const start = starts[first]!;
    let end = first + 1;
    while (end < classes && starts[end + 1]! - start <= most) end++;
    const rows = order.subarray(start, starts[end]);
    if (rows.length * dim > buffer.length) buffer = new Float32Array(rows.length * dim);
    const data = features.rows(rows, buffer.subarray(0, rows.length * dim));
    yield { first, starts: starts.subarray(first, end + 1).map((at) => at - start), rows, data };
    first = end;
  }
}

/** The rows of a block as a tensor over the same memory. [R, D] */
export const rowsOf = ({ data, rows }: ClassBlock): Tensor =>
  share(data, { shape: [rows.length, data.length / rows.length] });

/** Means of each class's rows [K, D]; zeros for a class without rows. */
export const classMeans = (x: Tensor, { starts }: ClassBlock): Tensor =>
  meanOfRuns(x, tensor(BigInt64Array.from(starts.subarray(0, -1), BigInt)));

/** Keeps the length of a row of zeros above 0. */
const LEAST_LENGTH = 2 ** -126;

/** Divides rows by their length, in place; zero rows stay. [R, D] */
export const unitRows_ = (x: Tensor): Tensor => div_(x, clamp(norm(x, { dim: 1, keepDim: true }), LEAST_LENGTH));

/** Class means of unit rows, each dimension times `scale` [D], and every row's Euclidean distance to its own. Flat [K · D], [R] */
export const spreadOf = (
  block: ClassBlock,
  scale: Float32Array | null = null,
): { readonly means: Float32Array; readonly distances: Float32Array } =>
  scope(() => {
    const x = unitRows_(rowsOf(block));
    if (scale) mul_(x, tensor(scale));
    const means = classMeans(x, block);
    return {
      means: toFloat32(means),
      distances: toFloat32(norm(sub_(x, selectRows(means, owners(block))), { dim: 1 })),
    };
  });

/** Which class of the block each row belongs to. [R] */
function owners({ starts, rows }: ClassBlock): Tensor {
  const result = new Int32Array(rows.length);
  for (let k = 0; k + 1 < starts.length; k++) result.fill(k, starts[k], starts[k + 1]);
  return tensor(result);
}
