import { FileError, optionHint } from '../base/errors.ts';
import { formatCount, logLine } from '../base/progress.ts';
import { classKeysOf } from '../data/class-keys.ts';
import { referenceTo } from '../data/dataset-reference.ts';
import { type Dataset, openDataset } from '../data/index.ts';
import { numberClasses } from '../data/number-classes.ts';
import type { FeaturesInfo } from './feature-set-artifact.ts';
import { writeFeatureSet } from './feature-set-writer.ts';
import { ForeignNpy } from './foreign-npy.ts';
import { readClassIds, readFamilyIds } from './id-columns.ts';
import { readIdFile } from './id-file.ts';
import { reportMissingRows } from './missing-rows.ts';
import { appendInOrder, orderById, type RowOrder, unchangedOrder } from './row-order.ts';

/** Files from elsewhere, whose rows i belong together. Arrays are .npy of any byte and element order. */
export type NpyImport = {
  /** float16, float32 or float64 [N, D] */
  readonly features: string;
  /** Class ids: whole numbers of any type, [N] or [N, 1]. With `dataset` and `ids` they may be left out. */
  readonly labels?: string | undefined;
  /** Family ids, in the same way; -1 unknown. Absent: those of the dataset. */
  readonly families?: string | undefined;
  /** What each row's image is called: one id a line, or in a .jsonl one JSON string a line. */
  readonly ids?: string | undefined;
  /** The dataset whose embeddings these are: image by image as `ids` say, without them row by row. */
  readonly dataset?: string | undefined;
};

export type ImportNpyOptions = {
  readonly force?: boolean;
  /** An image of the dataset that no id names becomes a missing row, instead of an error. */
  readonly allowMissing?: boolean;
};

/** Elements converted at a time. */
export const CHUNK_ELEMENTS = 1 << 22;

/**
 * Makes a feature set of arrays that another system wrote; the way out needs no command, for a feature set's files are
 * .npy. Class ids that are not 0 … C-1 are numbered so, and kept in `class-ids.npy`; with a dataset they must be its own.
 * @throws FileError if there are no rows, counts or ids disagree, an id is out of range or a feature is not finite.
 */
export async function importNpy(
  paths: NpyImport,
  out: string,
  { force = false, allowMissing = false }: ImportNpyOptions = {},
): Promise<FeaturesInfo> {
  using file = new ForeignNpy(paths.features);
  const [count, dim] = shapeOf(file);
  using dataset = paths.dataset === undefined ? null : openDataset(paths.dataset);
  const ids = paths.ids === undefined ? null : readIdFile(paths.ids, count);
  if (ids) file.nameOf = (row) => `row ${row} (${ids[row]})`;
  const classIds = paths.labels === undefined ? null : readClassIds(paths.labels, count);
  const families = paths.families === undefined ? null : readFamilyIds(paths.families, count);
  const rowOrder = dataset && ids ? orderById({ path: paths.ids!, ids }, dataset, allowMissing) : unchangedOrder(count);
  const of = dataset ? ofDataset(dataset, paths, { classIds, ids, rowOrder }) : ofClasses(paths, classIds, ids);
  const content = {
    ...of,
    dim,
    model: null,
    flip: 'none' as const,
    families: families ? of.families.map((own, i) => families[rowOrder.rows[i]!] ?? own) : of.families,
    dtype: file.width === 2 ? ('float16' as const) : ('float32' as const),
  };
  const inputs = Object.values(paths).filter((path) => path !== undefined);
  return await writeFeatureSet(out, content, { force, inputs }, ({ append, markMissing, directory }) => {
    appendInOrder(file, rowOrder, { append, directory, chunk: Math.max(1, Math.floor(CHUNK_ELEMENTS / dim)) });
    reportMissingRows(out, rowOrder.missing, rowOrder.rows.length);
    markMissing(rowOrder.missing);
  });
}

/** N and D. @throws FileError if the array holds no features. */
function shapeOf(file: ForeignNpy): readonly [number, number] {
  const { path, shape, described } = file;
  const [count, dim] = shape;
  if (shape.length !== 2 || !dim) throw new FileError(path, `has shape [${shape.join(', ')}], wanted [N, D]`);
  if (file.kind !== 'f')
    throw new FileError(path, `holds ${described}, wanted floats`, 'convert it in NumPy with .astype("float32")');
  if (!count) throw new FileError(path, 'holds no rows');
  if (described !== 'float32' && described !== 'float16')
    logLine(`${path}: ${described}; stored as ${file.width === 2 ? 'float16' : 'float32'} in C order`);
  return [count, dim];
}

/** What a set without a dataset holds beside its features. */
export function ofClasses(
  { features, labels: path }: NpyImport,
  classIds: Float64Array | null,
  ids: readonly string[] | null,
) {
  if (!classIds)
    throw new FileError(features, 'comes without class ids', [
      optionHint('give them with --labels'),
      optionHint('give their column with --label'),
      optionHint('give --data and --ids'),
    ]);
  const { labels, classes, ids: kept } = numberClasses(classIds);
  if (kept)
    logLine(
      `${path}: ${formatCount(classes, 'class is', 'classes are')} numbered 0 … ${classes - 1}; their ids are kept in class-ids.npy`,
    );
  return {
    labels,
    classes,
    families: new Int32Array(labels.length).fill(-1),
    classIds: kept && BigInt64Array.from(kept, BigInt),
    dataset: null,
    id: ids && ((row: number) => ids[row]!),
  };
}

type OfRows = {
  readonly classIds: Float64Array | null;
  readonly ids: readonly string[] | null;
  readonly rowOrder: RowOrder;
};

/** What a set of a dataset's images holds beside its features. @throws FileError naming the first row of another class. */
export function ofDataset(dataset: Dataset, paths: NpyImport, { classIds, ids, rowOrder: { rows } }: OfRows) {
  const { path } = dataset;
  if (!classIds && !ids)
    throw new FileError(
      paths.features,
      'comes without class ids and ids',
      optionHint('give one of them with --labels or --ids'),
    );
  const labels = dataset.labels();
  if (rows.length !== dataset.size)
    throw new FileError(
      paths.labels!,
      `holds ${rows.length} labels, ${path} ${dataset.size} images`,
      optionHint('give the ids of the rows with --ids, if they are of a part of its images'),
    );
  for (const [i, row] of rows.entries())
    if (classIds && row >= 0 && classIds[row] !== labels[i])
      throw new FileError(
        paths.labels!,
        `entry ${row} is class ${classIds[row]}, image ${ids ? ids[row] : i} of ${path} is of class ${labels[i]}`,
        ids
          ? 'class ids must be those of the dataset'
          : ['bring the rows in the order of the dataset', optionHint('give --ids')],
      );
  return {
    labels,
    classes: dataset.classes,
    families: dataset.families(),
    dataset: referenceTo(dataset),
    classKeys: classKeysOf(dataset),
    id: dataset.hasOwnIds ? (row: number) => dataset.id(row) : null,
  };
}
