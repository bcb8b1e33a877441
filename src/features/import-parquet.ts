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
import { readIdColumn, vectorOf } from './parquet-columns.ts';
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
  const [firstGroup] = file.groups.filter((group) => group.count > 0);
  if (!firstGroup) throw new FileError(features, 'holds no rows');
  using dataset = data === undefined ? null : openDataset(data);
  const ids = idColumn === undefined ? null : await readIdColumn(file, idColumn);
  const classIds = labelColumn === undefined ? null : await readLabelColumn(file, labelColumn, dataset !== null);
  const dim = vectorOf(
    features,
    vector,
    (await file.column(vector, firstGroup))[0],
    firstGroup.from,
    NAME_COLUMN,
  ).length;
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
  const bar = progressIfLong('read Parquet', file.groups.length);
  return await writeFeatureSet(out, content, how, async ({ append, markMissing, directory }) => {
    const read = async (group: (typeof file.groups)[number], nth: number): Promise<Float32Array> => {
      bar.update(nth);
      return await readVectors(file, vector, group, dim);
    };
    if (rowOrder.inOrder) for (const [nth, group] of file.groups.entries()) append(await read(group, nth));
    else {
      const path = join(directory, 'rows.npy');
      const writer = new NpyWriter(path, '<f4', [dim]);
      try {
        for (const [nth, group] of file.groups.entries()) writer.append(await read(group, nth));
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

/** A row group's vectors as float32, flat [K · D]. @throws FileError naming the first row that is none */
async function readVectors(file: ParquetFile, column: string, group: RowGroup, dim: number): Promise<Float32Array> {
  const values = await file.column(column, group);
  const vectors = values.map((value, i) => vectorOf(file.path, column, value, group.from + i, NAME_COLUMN));
  const other = vectors.findIndex(({ length }) => length !== dim);
  if (other >= 0)
    throw new FileError(
      file.path,
      `row ${group.from + other} has ${vectors[other]!.length} numbers in column ${column}, row 0 has ${dim}`,
    );
  const rows = new Float32Array(group.count * dim);
  for (const [i, vector] of vectors.entries()) rows.set(vector, i * dim);
  const bad = rows.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0) {
    const row = group.from + Math.floor(bad / dim);
    throw new FileError(file.path, `row ${row} holds ${rows[bad]}`, 'features must be finite, in the range of float32');
  }
  return rows;
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
