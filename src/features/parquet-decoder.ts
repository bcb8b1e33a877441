import { fstatSync } from 'node:fs';
import * as zlib from 'node:zlib';
import {
  type AsyncBuffer,
  type ColumnMetaData,
  type Compressors,
  type FileMetaData,
  parquetReadObjects,
} from 'hyparquet';
import { compressors as portable } from 'hyparquet-compressors';
import { readFully } from '../base/regular-file.ts';

type Decompress = (bytes: Uint8Array, length: number) => Uint8Array;
/** Node has it from 22.15 on. */
const zstd = (zlib as { readonly zstdDecompressSync?: typeof zlib.gunzipSync }).zstdDecompressSync;

/** What Node has, faster, in the place of what hyparquet-compressors has. */
export const compressors: Compressors = {
  ...portable,
  GZIP: ((bytes, maxOutputLength) => zlib.gunzipSync(bytes, { maxOutputLength })) satisfies Decompress,
  BROTLI: ((bytes, maxOutputLength) => zlib.brotliDecompressSync(bytes, { maxOutputLength })) satisfies Decompress,
  ...(zstd && { ZSTD: ((bytes, maxOutputLength) => zstd(bytes, { maxOutputLength })) satisfies Decompress }),
};

/** An open file as hyparquet reads it. */
export function parquetBuffer(path: string, fd: number): AsyncBuffer {
  const { size } = fstatSync(fd);
  return {
    byteLength: size,
    slice: async (start, end = size) => {
      if (!(start >= 0 && end >= start && end <= size))
        throw new Error(`bytes ${start} to ${end} of ${size} are wanted`);
      return readFully(fd, path, new Uint8Array(end - start), start).buffer;
    },
  };
}

/** Where the pages of a column begin, as hyparquet reads it. */
export function chunkStart({ dictionary_page_offset, data_page_offset }: ColumnMetaData): number {
  const [words, data] = [Number(dictionary_page_offset ?? 0), Number(data_page_offset)];
  return words > 0 && words < data ? words : data;
}

/** The rows `from` … `from + count - 1` of a column, which are stored together. */
export type ColumnTask = {
  readonly path: string;
  /** The open file: another one may have taken its path. */
  readonly fd: number;
  /** Whether bytes that are not said to be text are taken for text. */
  readonly utf8: boolean;
  readonly metadata: FileMetaData;
  readonly name: string;
  /** Position of the row group that they are. */
  readonly group: number;
  readonly from: number;
  readonly count: number;
};

/** The values of a column, one for each row. */
export async function decodeColumn({ path, fd, utf8, metadata, name, from, count }: ColumnTask): Promise<unknown[]> {
  const rows = await parquetReadObjects({
    file: parquetBuffer(path, fd),
    utf8,
    metadata,
    columns: [name],
    rowStart: from,
    rowEnd: from + count,
    compressors,
  });
  return rows.map((row) => row[name]);
}
