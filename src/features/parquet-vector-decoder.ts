import { type ColumnMetaData, type DecodedArray, parquetSchema, type SchemaTree } from 'hyparquet';
import { assembleNested } from 'hyparquet/src/assemble.js';
import { parquetHeader, readPage } from 'hyparquet/src/column.js';
import { convert, DEFAULT_PARSERS } from 'hyparquet/src/convert.js';
import { getTreePath, isListLike } from 'hyparquet/src/schema.js';
import { type ColumnTask, chunkStart, compressors, decodeColumn, parquetBuffer } from './parquet-decoder.ts';

/** `double`: the numbers are wanted as float64; else as float32. */
export type VectorTask = ColumnTask & { readonly double: boolean };

/**
 * Vectors of one length `dim`, flat [K · D]. Or the first row, from 0, that has another `length` than row 0 (0: it is no list of
 * numbers).
 */
export type DecodedVectors = { readonly dim: number } & (
  | { readonly numbers: Float32Array | Float64Array }
  | { readonly row: number; readonly length: number }
);

/** The vectors in a column. Memory holds them once, the column as it is stored, and a page as hyparquet decodes it. */
export async function decodeVectors(task: VectorTask): Promise<DecodedVectors> {
  const NumberArray = task.double ? Float64Array : Float32Array;
  let [numbers, dim, row] = [new NumberArray(0), 0, 0];
  for await (const values of rowsOf(task))
    for (const value of values) {
      const vector = vectorOf(value);
      // a damaged file may state any count: memory that is not written is not taken
      if (row === 0) [numbers, dim] = [new NumberArray(task.count * vector.length), vector.length];
      if (vector.length !== dim || dim === 0) return { dim, row, length: vector.length };
      if (row === task.count) break;
      numbers.set(vector, row * dim);
      row++;
    }
  if (row !== task.count) throw new Error(`${row} rows in a group of ${task.count}`);
  return { dim, numbers };
}

/** A value as the list of numbers that it is; none if it is no such list. */
function vectorOf(value: unknown): ArrayLike<number> {
  const isList = Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof Uint8Array));
  const list = isList ? (value as ArrayLike<unknown>) : [];
  return Array.prototype.every.call(list, (x) => typeof x === 'number') ? (list as ArrayLike<number>) : [];
}

/** The values of a column, a few rows at a time if it holds lists. */
async function* rowsOf(task: VectorTask): AsyncGenerator<ArrayLike<unknown> & Iterable<unknown>> {
  const { metadata, name, group } = task;
  const chunks = metadata.row_groups[group]!.columns.filter(({ meta_data }) => meta_data?.path_in_schema[0] === name);
  const tree = parquetSchema(metadata);
  const column = tree.children.find(({ element }) => element.name === name);
  const [chunk] = chunks;
  if (chunks.length === 1 && chunk?.meta_data && !chunk.file_path && column && isListLike(column))
    yield* listsOf(task, chunk.meta_data, tree, column);
  else yield await decodeColumn(task);
}

/** The lists in the pages of a chunk; hyparquet itself hands out those of all pages at once. */
async function* listsOf(
  { fd, path, utf8 }: VectorTask,
  chunk: ColumnMetaData,
  tree: SchemaTree,
  column: SchemaTree,
): AsyncGenerator<DecodedArray> {
  const schemaPath = getTreePath(tree, chunk.path_in_schema);
  const { element } = schemaPath.at(-1)!;
  const pathInSchema = chunk.path_in_schema;
  const decoder = { ...chunk, pathInSchema, schemaPath, element, utf8, compressors, parsers: DEFAULT_PARSERS };
  const lists = (rows: DecodedArray): DecodedArray => {
    const columns = new Map([[pathInSchema.join('.'), rows]]);
    assembleNested(columns, column, DEFAULT_PARSERS);
    return columns.get(column.element.name)!;
  };
  const start = chunkStart(chunk);
  const bytes = await parquetBuffer(path, fd).slice(start, start + Number(chunk.total_compressed_size));
  const reader = { view: new DataView(bytes), offset: 0 };
  let dictionary: DecodedArray | undefined;
  let rows: unknown[] = [];
  while (reader.offset < bytes.byteLength - 1) {
    const header = parquetHeader(reader);
    const { data = [] } = readPage(reader, header, decoder, dictionary, rows, 0);
    if (header.type === 'DICTIONARY_PAGE') dictionary = convert(data, decoder);
    else {
      rows = data as unknown[];
      yield lists(rows.splice(0, rows.length - 1)); // the next page may begin inside of the last row
    }
  }
  yield lists(rows);
}
