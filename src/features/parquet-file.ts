import { closeSync } from 'node:fs';
import {
  type AsyncBuffer,
  type ColumnMetaData,
  type FileMetaData,
  parquetMetadataAsync,
  parquetSchema,
} from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { getTreePath, isFlatColumn } from 'hyparquet/src/schema.js';
import { FileError, messageOf } from '../base/errors.ts';
import { openRegularFile, readFully } from '../base/regular-file.ts';
import { type ColumnTask, chunkStart, parquetBuffer } from './parquet-decoder.ts';
import { columnInThread, vectorsInThread } from './parquet-decoder-thread.ts';
import type { DecodedVectors } from './parquet-vector-decoder.ts';

/**
 * What a column chunk may state for each byte that it has: values in lists and rows of a file (a run of equal ones takes a few
 * bytes) and bytes without compression (deflate ends at 1032). Each page may add a little. A page without lists states no more
 * values than its row group has rows: sorted ones of any number take a few bytes.
 */
const [VALUES_PER_BYTE, BYTES_PER_BYTE, SMALL] = [64, 1100, 1 << 16];

/** Rows `from` … `from + count - 1`, which are stored together. */
export type RowGroup = { readonly from: number; readonly count: number };

/** Columns of a Parquet file, a row group in memory at a time. */
export class ParquetFile implements Disposable {
  readonly path: string;
  /** N */
  readonly count: number;
  readonly groups: readonly RowGroup[];
  /** Names of the columns, each with all that lies below it. */
  readonly columns: readonly string[];
  readonly metadata: FileMetaData;
  readonly #file: AsyncBuffer;
  readonly #fd: number;

  private constructor(path: string, fd: number, file: AsyncBuffer, metadata: FileMetaData) {
    this.path = path;
    this.#fd = fd;
    this.#file = file;
    this.metadata = metadata;
    this.columns = topLevel(metadata);
    let from = 0;
    this.groups = metadata.row_groups.map(({ num_rows }) => {
      const group = { from, count: Number(num_rows) };
      if (!Number.isSafeInteger(group.count) || group.count < 0) throw new Error(`a row group of ${num_rows} rows`);
      from += group.count;
      return group;
    });
    this.count = from;
    const { byteLength } = file;
    if (from > VALUES_PER_BYTE * byteLength) throw new Error(`${from} rows in ${byteLength} bytes`);
  }

  /** @throws FileError if there is no whole Parquet file at `path`. */
  static async open(path: string): Promise<ParquetFile> {
    const fd = openRegularFile(path);
    try {
      const file = parquetBuffer(path, fd);
      return await readable(path, async () => {
        if (file.byteLength < 12) throw new Error(`${file.byteLength} bytes`);
        return new ParquetFile(path, fd, file, await parquetMetadataAsync(file, { geoparquet: false }));
      });
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /**
   * The values of a column in a row group, one for each row. `bytes`: those that are not said to be text stay bytes.
   * @throws FileError
   */
  async column(name: string, group: RowGroup, { bytes = false } = {}): Promise<readonly unknown[]> {
    return await this.#decode(name, group, async (task) => {
      const values = await columnInThread({ ...task, utf8: !bytes }, this.#file.byteLength);
      if (values.length !== group.count) throw new Error(`${values.length} rows in a group of ${group.count}`);
      return values;
    });
  }

  /** The vectors in a column in a row group. `double`: as float64; else as float32. @throws FileError */
  async vectors(name: string, group: RowGroup, { double = false } = {}): Promise<DecodedVectors> {
    return await this.#decode(name, group, (task) => vectorsInThread({ ...task, double }, this.#file.byteLength));
  }

  /** @throws FileError if there is no such column, or it cannot be decoded */
  async #decode<T>(name: string, { from, count }: RowGroup, decode: (task: ColumnTask) => Promise<T>): Promise<T> {
    const { path, columns, metadata } = this;
    if (!columns.includes(name))
      throw new FileError(
        path,
        `has no column ${JSON.stringify(name)}`,
        `its columns: ${columns.slice(0, 20).join(', ')}`,
      );
    return await readable(path, async () => {
      const group = this.groups.findIndex((other) => other.from === from && other.count === count);
      await this.#requireBounded(name, group);
      return await decode({ path, fd: this.#fd, utf8: true, metadata, name, group, from, count });
    });
  }

  /** The bytes of a column's pages in a row group, as they are stored. @throws FileError if the file ends before */
  chunk(column: ColumnMetaData): Uint8Array {
    return readFully(this.#fd, this.path, new Uint8Array(Number(column.total_compressed_size)), chunkStart(column));
  }

  /** @throws Error if pages of a column state more values or bytes than their own bytes or its rows can hold. */
  async #requireBounded(name: string, group: number): Promise<void> {
    const tree = parquetSchema(this.metadata);
    const { columns = [], num_rows = 0 } = this.metadata.row_groups[group] ?? {};
    for (const { meta_data: chunk } of columns) {
      if (chunk?.path_in_schema[0] !== name) continue;
      const rows = isFlatColumn(getTreePath(tree, chunk.path_in_schema)) ? Number(num_rows) : 0;
      const start = chunkStart(chunk);
      const buffer = await this.#file.slice(start, start + Number(chunk.total_compressed_size));
      const reader = { view: new DataView(buffer as ArrayBuffer), offset: 0 };
      while (reader.offset < buffer.byteLength - 1) {
        const {
          data_page_header: v1,
          data_page_header_v2: v2,
          dictionary_page_header: dictionary,
          ...page
        } = parquetHeader(reader);
        const [packed, bytes] = [Number(page.compressed_page_size), Number(page.uncompressed_page_size)];
        const values = [v1, v2, dictionary].map((header) => Number(header?.num_values ?? 0));
        const isCount = (n: number, most: number): boolean => Number.isInteger(n) && n >= 0 && n <= most;
        if (
          !isCount(packed, buffer.byteLength - reader.offset) ||
          !isCount(bytes, BYTES_PER_BYTE * packed + SMALL) ||
          !values.every((n) => isCount(n, Math.max(rows, VALUES_PER_BYTE * packed + SMALL)))
        )
          throw new Error(`a page of ${packed} bytes states ${values.join(', ')} values in ${bytes} bytes`);
        reader.offset += packed;
      }
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function topLevel({ schema }: FileMetaData): string[] {
  const names: string[] = [];
  const below = (at: number): number => {
    let next = at + 1;
    for (let child = schema[at]?.num_children ?? 0; child > 0 && next < schema.length; child--) next = below(next);
    return next;
  };
  for (let at = 1; at < schema.length; at = below(at)) names.push(schema[at]!.name);
  return names;
}

/** What damaged and unusual files make hyparquet throw, as a `FileError`. */
async function readable<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof FileError) throw error;
    const problem = messageOf(error).split('\n', 1)[0]!;
    const codec = /unsupported compression codec: (\w+)/.exec(problem)?.[1];
    if (codec)
      throw new FileError(path, `is compressed with ${codec}, which is not read`, 'write it with Snappy, GZIP or ZSTD'); // biome-ignore format: short
    throw new FileError(
      path,
      `cannot be read as Parquet (${problem})`,
      'write it again: it is damaged, or no Parquet file',
    );
  }
}
