import type { ColumnChunk, ColumnMetaData, SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import { version } from '../base/version.ts';
import { chunkStart } from './parquet-decoder.ts';
import type { ParquetFile } from './parquet-file.ts';

/** Vectors by row, of `dim` numbers each. */
export type NewVectors = {
  readonly dim: number;
  readonly vectorAt: (row: number) => ArrayLike<number>;
  /** Written as float64; else float32. */
  readonly double: boolean;
};

/** Bytes of numbers in a page, about. */
const PAGE = 1 << 20;

/**
 * A file with other vectors in a column, in chunks: each one may use the memory of the last. All other columns are copied as they are
 * stored, row group by row group, whatever their types. Their statistics are left out. What Arrow noted of all columns is kept if the
 * vectors have as many numbers as before: it may hold that number.
 */
export function* replaceVectors(
  file: ParquetFile,
  column: string,
  vectors: NewVectors,
  { sameDim }: { readonly sameDim: boolean },
): Iterable<Uint8Array> {
  const bytes = new ByteWriter();
  const { row_groups, key_value_metadata = [] } = file.metadata;
  const writer = new ParquetWriter({
    writer: bytes,
    schema: schemaWith(file, column, vectors),
    // what `mixbct embed` notes is of the vectors that were there
    kvMetadata: key_value_metadata.filter(({ key }) => key !== 'mixbct' && (sameDim || key !== 'ARROW:schema')),
    createdBy: `mixbct version ${version}`,
  });
  let row = 0;
  for (const { columns, num_rows } of row_groups) {
    const count = Number(num_rows);
    if (count === 0) continue;
    const written: ColumnChunk[] = [];
    for (const { meta_data: chunk } of columns) {
      if (chunk!.path_in_schema[0] !== column) {
        yield* flushed(bytes);
        const stored = file.chunk(chunk!);
        written.push({ file_offset: 0n, meta_data: movedTo(bytes.offset, chunk!) });
        bytes.offset += stored.length;
        yield stored;
      } else if (written.at(-1)?.meta_data?.path_in_schema[0] !== column)
        written.push(yield* vectorChunk(bytes, column, vectors, { from: row, count }));
    }
    const size = (of: (chunk: ColumnMetaData) => bigint): bigint =>
      written.reduce((sum, { meta_data }) => sum + of(meta_data!), 0n);
    writer.row_groups.push({ columns: written, num_rows, total_byte_size: size((chunk) => chunk.total_uncompressed_size) }); // biome-ignore format: short
    writer.num_rows += num_rows;
    row += count;
  }
  writer.finish();
  yield* flushed(bytes);
}

/** What was written; the memory is used again, offsets go on. */
function* flushed(bytes: ByteWriter): Iterable<Uint8Array> {
  yield bytes.getBytes();
  bytes.index = 0;
}

/** A column's pages at another place of a file. Statistics go: they are read as numbers and dates, which may round them. */
function movedTo(offset: number, chunk: ColumnMetaData): ColumnMetaData {
  const { statistics: _s, size_statistics: _z, geospatial_statistics: _g, ...rest } = chunk;
  const { bloom_filter_offset: _o, bloom_filter_length: _l, dictionary_page_offset, ...kept } = rest;
  const by = BigInt(offset - chunkStart(chunk));
  return {
    ...kept,
    data_page_offset: chunk.data_page_offset + by,
    ...(kept.index_page_offset !== undefined && { index_page_offset: kept.index_page_offset + by }),
    ...(dictionary_page_offset !== undefined && dictionary_page_offset > 0n && { dictionary_page_offset: dictionary_page_offset + by }), // biome-ignore format: short
  };
}

/** A column of lists, none of them null: the layout that Parquet's specification asks for. */
const vectorSchema = (name: string, double: boolean): SchemaElement[] => [
  { name, converted_type: 'LIST', repetition_type: 'REQUIRED', num_children: 1 },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  { name: 'element', type: double ? 'DOUBLE' : 'FLOAT', repetition_type: 'REQUIRED' },
];

/** The schema with another vector column. Whole numbers keep the older of their two notes, whose meaning is the same. */
function schemaWith({ metadata: { schema } }: ParquetFile, column: string, { double }: NewVectors): SchemaElement[] {
  const result: SchemaElement[] = [schema[0]!];
  const take = (at: number, depth: number): number => {
    const replaced = depth === 0 && schema[at]!.name === column;
    if (replaced) result.push(...vectorSchema(column, double));
    const from = result.length;
    result.push(withoutIntegerNote(schema[at]!));
    let next = at + 1;
    for (let child = schema[at]!.num_children ?? 0; child > 0; child--) next = take(next, depth + 1);
    if (replaced) result.length = from;
    return next;
  };
  for (let at = 1; at < schema.length; ) at = take(at, 0);
  return result;
}

/** The writer notes bit widths in a type that other readers do not take. */
function withoutIntegerNote(element: SchemaElement): SchemaElement {
  const { logical_type: type, ...rest } = element;
  if (type?.type !== 'INTEGER') return element;
  return { converted_type: `${type.isSigned ? 'INT' : 'UINT'}_${type.bitWidth as 8 | 16 | 32 | 64}`, ...rest };
}

/** Pages of the vectors of a row group. */
function* vectorChunk(
  bytes: ByteWriter,
  name: string,
  { dim, double, vectorAt }: NewVectors,
  { from, count }: { readonly from: number; readonly count: number },
): Generator<Uint8Array, ColumnChunk> {
  const start = bytes.offset;
  const NumberArray = double ? Float64Array : Float32Array;
  const rowsInPage = Math.max(1, Math.floor(PAGE / (dim * NumberArray.BYTES_PER_ELEMENT)));
  for (let row = 0; row < count; row += rowsInPage) {
    const rows = Math.min(rowsInPage, count - row);
    const numbers = new NumberArray(rows * dim);
    for (let i = 0; i < rows; i++) numbers.set(vectorAt(from + row + i), i * dim);
    const levels = new ByteWriter();
    appendLevels(levels, Array.from({ length: rows }, () => [[1, 0], [dim - 1, 1]] as const).flat()); // biome-ignore format: short
    appendLevels(levels, [[rows * dim, 1]]); // all numbers are there
    const size = levels.offset + numbers.byteLength;
    writePageHeader(bytes, {
      ...{ type: 'DATA_PAGE', uncompressed_page_size: size, compressed_page_size: size },
      data_page_header: { num_values: rows * dim, encoding: 'PLAIN', definition_level_encoding: 'RLE', repetition_level_encoding: 'RLE' }, // biome-ignore format: short
    });
    bytes.appendBytes(levels.getBytes());
    bytes.appendBytes(new Uint8Array(numbers.buffer));
    yield* flushed(bytes);
  }
  const size = BigInt(bytes.offset - start);
  return {
    file_offset: 0n,
    meta_data: {
      ...{ type: double ? 'DOUBLE' : 'FLOAT', encodings: ['PLAIN', 'RLE'], codec: 'UNCOMPRESSED' },
      ...{ path_in_schema: [name, 'list', 'element'], num_values: BigInt(count * dim) },
      ...{ total_uncompressed_size: size, total_compressed_size: size, data_page_offset: BigInt(start) },
    },
  };
}

/** Runs of levels of one bit, after their length in bytes. A 0 begins a row where it is a number's place among lists. */
function appendLevels(bytes: ByteWriter, runs: readonly (readonly [length: number, level: number])[]): void {
  const packed = new ByteWriter();
  for (const [length, level] of runs)
    if (length > 0) {
      packed.appendVarInt(length << 1);
      packed.appendUint8(level);
    }
  bytes.appendUint32(packed.offset);
  bytes.appendBytes(packed.getBytes());
}

/**
 * Columns that `replaceVectors` cannot copy: those whose pages are in another file or encrypted, and those whose type it would not
 * write as it was.
 */
export function uncopiedColumns({ metadata: { schema, row_groups } }: ParquetFile): string[] {
  const kinds = new Set<unknown>(['STRING', 'MAP', 'LIST', 'ENUM', 'DECIMAL', 'DATE', 'TIME', 'TIMESTAMP', 'INTEGER', 'NULL', 'JSON', 'BSON', 'UUID', 'FLOAT16']); // biome-ignore format: short
  const unknown = schema.filter(({ logical_type: type }) => type !== undefined && !kinds.has(type.type));
  const elsewhere = row_groups.flatMap(
    ({ columns }) =>
    columns.filter(({ file_path, meta_data, crypto_metadata }) => file_path !== undefined || !meta_data || crypto_metadata), // biome-ignore format: short
  );
  const names = elsewhere.map(({ meta_data }) => meta_data?.path_in_schema[0] ?? 'an encrypted one');
  return [...new Set([...unknown.map(({ name }) => name), ...names])];
}

/** Whether the numbers in a column of vectors are float64 or whole numbers, which float32 may not hold. */
export function needsDouble({ metadata: { row_groups } }: ParquetFile, column: string): boolean {
  const types = row_groups.flatMap(({ columns }) => chunksOf(columns, (name) => name === column).map(({ type }) => type)); // biome-ignore format: short
  return types.some((type) => type !== 'FLOAT' && type !== 'FIXED_LEN_BYTE_ARRAY'); // which is float16
}

/** Whether two files have the same columns beside their vectors, to the byte. */
export function sameOtherColumns(a: ParquetFile, b: ParquetFile, column: string): boolean {
  const others = ({ metadata }: ParquetFile): ColumnMetaData[] =>
    metadata.row_groups.flatMap(({ columns, num_rows }) => num_rows > 0n ? chunksOf(columns, (name) => name !== column) : []); // biome-ignore format: short
  const [mine, theirs] = [others(a), others(b)];
  const marks = ({ path_in_schema, type, codec, num_values }: ColumnMetaData): string =>
    JSON.stringify([path_in_schema, type, codec, String(num_values)]);
  return (
    mine.length === theirs.length &&
    mine.every((chunk, i) => marks(chunk) === marks(theirs[i]!) && Buffer.compare(a.chunk(chunk), b.chunk(theirs[i]!)) === 0) // biome-ignore format: short
  );
}

const chunksOf = (columns: readonly ColumnChunk[], wanted: (name: string) => boolean): ColumnMetaData[] =>
  columns.flatMap(({ meta_data }) => (meta_data && wanted(meta_data.path_in_schema[0]!) ? [meta_data] : []));
