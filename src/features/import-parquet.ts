import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { FileError, optionHint } from '../base/errors.ts';
import { formatCount, logLine, progressIfLong } from '../base/progress.ts';
import { byCodeUnit } from '../data/class-folders.ts';
import { openDataset } from '../data/index.ts';
import type { FeaturesInfo } from './feature-set-artifact.ts';
import { writeFeatureSet } from './feature-set-writer.ts';
import { ForeignNpy } from './foreign-npy.ts';
import { CHUNK_ELEMENTS, type ImportNpyOptions, ofClasses, ofDataset } from './import-npy.ts';
import { reportMissingRows } from './missing-rows.ts';
import { NpyWriter } from './npy.ts';
import { readIdColumn, readVectors, type Vectors } from './parquet-columns.ts';
import { ParquetFile, type RowGroup } from './parquet-file.ts';
import { appendInOrder, orderById, unchangedOrder } from './row-order.ts';

const NAME_COLUMN = optionHint('name the column of the embeddings with --vector');

/** A Parquet file of another system, and its columns. */
export type ParquetImport = {
  readonly features: string;
  /** Lists of numbers, all of one length; default: `embedding`. */
  readonly vector?: string | undefined;
  /** What each row's image is called: text or whole numbers. */
  readonly id?: string | undefined;
  /** Class of each row: whole numbers, or text, which is numbered. */
  readonly label?: string | undefined;
  /** The dataset whose embeddings these are: image by image as the ids say, without them row by row. */
  readonly dataset?: string | undefined;
};

/**
 * Makes a feature set of a Parquet file. Memory holds ids, classes and one row group. Numbers are stored as float32.
 * @throws FileError if a column is missing or of another type, an id occurs twice, or a number is not finite.
 */
export async function importParquet(
  { features, vector = 'embedding', id: idColumn, label: labelColumn, dataset: data }: ParquetImport,
  out: string,
  { force = false, allowMissing = false }: ImportNpyOptions = {},
): Promise<FeaturesInfo> {
  using file = await ParquetFile.open(features);
  const { count } = file;
  const groups = file.groups.filter((group) => group.count > 0);
  const [firstGroup] = groups;
  if (!firstGroup) throw new FileError(features, 'holds no rows');
  using dataset = data === undefined ? null : openDataset(data);
  const ids = idColumn === undefined ? null : await readIdColumn(file, idColumn);
  const classIds = labelColumn === undefined ? null : await readLabelColumn(file, labelColumn, dataset !== null);
  let first: Vectors | null = await readVectors(file, firstGroup, { column: vector, hint: NAME_COLUMN });
  const { dim } = first;
  const columnName = (column: string | undefined): string => `${features}, column ${column}`;
  const names = { features, labels: columnName(labelColumn), ids: columnName(idColumn) };
  const rowOrder = dataset && ids ? orderById({ path: names.ids, ids }, dataset, allowMissing) : unchangedOrder(count);
  const content = {
    ...(dataset ? ofDataset(dataset, names, { classIds, ids, rowOrder }) : ofClasses(names, classIds, ids)),
    dim,
    model: null,
    flip: 'none' as const,
  };
  const how = { force, inputs: [features, data] };
  const bar = progressIfLong('read Parquet', groups.length);
  return await writeFeatureSet(out, content, how, async ({ append, markMissing, directory }) => {
    const read = async (group: RowGroup): Promise<Float32Array> => {
      bar.update(groups.indexOf(group));
      const { numbers } = first ?? (await readVectors(file, group, { column: vector, dim, hint: NAME_COLUMN }));
      first = null;
      return requireFinite(file.path, group, numbers as Float32Array, dim);
    };
    if (rowOrder.inOrder) for (const group of groups) append(await read(group));
    else {
      const path = join(directory, 'rows.npy');
      const writer = new NpyWriter(path, '<f4', [dim]);
      try {
        for (const group of groups) writer.append(await read(group));
      } finally {
        writer.close();
      }
      using rows = new ForeignNpy(path);
      appendInOrder(rows, rowOrder, { append, directory, chunk: Math.max(1, Math.floor(CHUNK_ELEMENTS / dim)) });
      rmSync(path);
    }
    bar.stop();
    reportMissingRows(out, rowOrder.missing, rowOrder.rows.length);
    markMissing(rowOrder.missing);
  });
}

/** A row group's vectors. @throws FileError naming the first row with a number that is none */
function requireFinite(path: string, { from }: RowGroup, rows: Float32Array, dim: number): Float32Array {
  const bad = rows.findIndex((x) => !Number.isFinite(x));
  if (bad < 0) return rows;
  const row = from + Math.floor(bad / dim);
  throw new FileError(path, `row ${row} holds ${rows[bad]}`, 'features must be finite, in the range of float32');
}

/** Class ids [N]; text is numbered by code unit. */
async function readLabelColumn(file: ParquetFile, column: string, withDataset: boolean): Promise<Float64Array> {
  const labels = new Float64Array(file.count);
  const names: string[] = [];
  for (const group of file.groups)
    for (const [i, value] of (await file.column(column, group)).entries()) {
      const row = group.from + i;
      const number = typeof value === 'bigint' ? Number(value) : value;
      if (typeof value === 'string' && names.length === row && !withDataset) names.push(value);
      else if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 && names.length === 0)
        labels[row] = number;
      else
        throw new FileError(file.path, `row ${row} of column ${column} holds ${JSON.stringify(String(value))}`, withDataset ? 'wanted the class ids of the data set, whole numbers from 0' : 'wanted whole numbers from 0, or text in all rows'); // biome-ignore format: short
    }
  if (names.length === 0) return labels;
  const distinct = [...new Set(names)].sort(byCodeUnit);
  const numbers = new Map(distinct.map((name, i) => [name, i]));
  logLine(
    `${file.path}: ${formatCount(distinct.length, 'class is', 'classes are')} numbered by name: 0 is ${distinct[0]}`,
  );
  return Float64Array.from(names, (name) => numbers.get(name)!);
}
