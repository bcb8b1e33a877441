import { UserError } from '../base/errors.ts';
import { groupPositions } from '../base/group-positions.ts';
import { progressIfLong } from '../base/progress.ts';
import { classSpread, scope, share, type Tensor, toFloat64 } from '../torch/index.ts';

/** Embeddings with labels, by position: a feature set, or rows in memory. */
export type LabelledRows = {
  readonly info: { readonly dim: number; readonly count: number; readonly classes: number };
  /** Embeddings at positions, flat [K · D]; written to `into` if given. */
  rows(indices: ArrayLike<number>, into?: Float32Array): Float32Array;
  labels(): Int32Array;
  /** The same a few at a time, each good until the next: what passes over them once keeps none. */
  labelBlocks?(): Iterable<Int32Array>;
  /** Path for messages. */
  readonly path?: string;
  /** Positions without an embedding: no class has them. */
  missing?(): ReadonlySet<number>;
  /** Where the embeddings are in a file that is open; null if they are no float32 there. */
  file?(): RowsFile | null;
};

/** A file that is open for reading, and where its first row begins. */
export type RowsFile = { readonly fd: number; readonly start: number };

/** Present rows by class: those of class c have the places `starts[c] … starts[c + 1] - 1`. */
export type RowsByClass = {
  readonly starts: Int32Array;
  /** The row at each place, ascending in a class; null if place and row are the same, because rows lie class by class. */
  readonly order: Int32Array | null;
};

/** Positions of each class's rows by label, in order, without missing rows. A class without rows has an empty list. */
export function rowsByClass(features: LabelledRows, classes = features.info.classes): Int32Array[] {
  const { order, starts } = sortByClass(features, classes);
  const rows = order ?? ascending(0, new Int32Array(starts[classes]!));
  return Array.from({ length: classes }, (_, label) => rows.subarray(starts[label], starts[label + 1]));
}

/** `from`, `from + 1`, … in `into`. */
function ascending(from: number, into: Int32Array): Int32Array {
  for (let i = 0; i < into.length; i++) into[i] = from + i;
  return into;
}

/** Limits of the classes that a set may state, so that memory stays proportional to its rows. */
const [CLASSES_FOR_A_ROW, SPARE_CLASSES] = [4, 1024];

/** @throws UserError if the features state so many classes that their ids must have holes. */
export function sortByClass(features: LabelledRows, classes = features.info.classes): RowsByClass {
  const { count } = features.info;
  if (classes > CLASSES_FOR_A_ROW * count + SPARE_CLASSES)
    throw new UserError(`${features.path ?? 'the features'}: states ${classes} classes for ${count} rows`, {
      hint: 'its class ids have holes: mixbct import-features numbers them 0 … C-1 and keeps the ids',
    });
  const missing = features.missing?.() ?? NONE;
  const starts = missing.size === 0 ? startsOfSorted(features.labelBlocks?.() ?? [features.labels()], classes) : null;
  if (starts) return { starts, order: null };
  const labels = features.labels();
  return groupPositions(labels.length, classes, (row) => (missing.has(row) ? -1 : labels[row]!));
}

/** Where each class of labels that do not fall starts, and where the last one ends [C + 1]; null if one falls. */
function startsOfSorted(blocks: Iterable<Int32Array>, classes: number): Int32Array | null {
  const starts = new Int32Array(classes + 1);
  let label = 0; // classes up to it have a start
  let from = 0;
  for (const labels of blocks) {
    for (let i = 0; i < labels.length; i++) {
      const own = labels[i]!;
      if (own < label) return null;
      while (label < own) starts[++label] = from + i;
    }
    from += labels.length;
  }
  return starts.fill(from, label + 1);
}
const NONE: ReadonlySet<number> = new Set();

/** Classes whose rows are all missing, ascending. */
export function classesWithoutRows(features: LabelledRows): number[] {
  const missing = features.missing?.() ?? NONE;
  if (missing.size === 0) return [];
  const labels = features.labels();
  const present = new Set<number>();
  for (const [row, label] of labels.entries()) if (!missing.has(row)) present.add(label);
  const lost = new Set(Array.from(missing, (row) => labels[row]!).filter((label) => !present.has(label)));
  return [...lost].sort((a, b) => a - b);
}

/** Rows of a few whole classes; good until the next block. */
export type ClassBlock = {
  /** The first of its classes. */
  readonly first: number;
  /** Where in the block each class starts, and where the last one ends. [K + 1] */
  readonly starts: Int32Array;
  /** Positions of the rows, class by class [R]; null if they follow each other from `from` on. */
  readonly order: Int32Array | null;
  /** How many rows of earlier classes there are. */
  readonly from: number;
  /** Their embeddings; good in the same scope. [R, D] */
  tensor(): BlockRows;
};
type BlockRows = Parameters<typeof classSpread>[0];

/**
 * Elements of a block: those that are read here fit a processor's cache. Those that an operator reads are never in memory together: the more,
 * the less often its threads wait for each other.
 */
const [BLOCK_ELEMENTS, FILE_ELEMENTS] = [1 << 18, 1 << 26];

/**
 * All rows by class; no class is split over blocks. Memory holds one block or one class, whatever N is. If rows are sorted by
 * class, each block is one contiguous part of the file. `order` avoids sorting again. A long pass is shown as `title`.
 */
export function* classBlocks(
  features: LabelledRows,
  { order, starts }: RowsByClass = sortByClass(features),
  title = 'read features',
): Generator<ClassBlock> {
  const { dim, classes } = features.info;
  const file = features.file?.() ?? null;
  const most = Math.max(1, Math.floor((file ? FILE_ELEMENTS : BLOCK_ELEMENTS) / dim));
  let buffer = new Float32Array(file ? 0 : most * dim);
  const read = (rows: Int32Array): Tensor => {
    if (rows.length * dim > buffer.length) buffer = new Float32Array(rows.length * dim);
    return share(features.rows(rows, buffer.subarray(0, rows.length * dim)), { shape: [rows.length, dim] });
  };
  const inFile = ({ fd, start }: RowsFile, from: number, count: number, rows: Int32Array | null): BlockRows =>
    rows
      ? { fd, start, dim, count, order: share(rows) }
      : { fd, start: start + from * dim * Float32Array.BYTES_PER_ELEMENT, dim, count, order: null };
  const bar = progressIfLong(title, starts[classes]!);
  for (let first = 0; first < classes; ) {
    const from = starts[first]!;
    let end = first + 1;
    while (end < classes && starts[end + 1]! - from <= most) end++;
    const to = starts[end]!;
    const rows = order?.subarray(from, to) ?? null;
    yield {
      first,
      starts: starts.subarray(first, end + 1).map((at) => at - from),
      order: rows,
      from,
      tensor: () =>
        file ? inFile(file, from, to - from, rows) : read(rows ?? ascending(from, new Int32Array(to - from))),
    };
    bar.update(to);
    first = end;
  }
  bar.stop();
}

/**
 * Class means of unit rows (zero rows stay) and every row's distance to its class mean: Euclidean, squares weighted by
 * `factors` [D]. Double precision, flat [K · D], [R]
 */
export const classMeansAndDistances = (
  block: Pick<ClassBlock, 'starts' | 'tensor'>,
  factors: Float64Array,
): { readonly means: Float64Array; readonly distances: Float64Array } =>
  scope(() => {
    const [means, distances] = classSpread(block.tensor(), share(block.starts), share(factors));
    return { means: toFloat64(means), distances: toFloat64(distances) };
  });
