import { fstatSync } from 'node:fs';
import { totalmem } from 'node:os';
import { Worker } from 'node:worker_threads';
import * as zlib from 'node:zlib';
import { type AsyncBuffer, type Compressors, type FileMetaData, parquetReadObjects } from 'hyparquet';
import { compressors as portable } from 'hyparquet-compressors';
import { codeOf } from '../base/errors.ts';
import { readFully } from '../base/regular-file.ts';

type Decompress = (bytes: Uint8Array, length: number) => Uint8Array;
/** Node has it from 22.15 on. */
const zstd = (zlib as { readonly zstdDecompressSync?: typeof zlib.gunzipSync }).zstdDecompressSync;

/** What Node has, faster, in the place of what hyparquet-compressors has. */
const compressors: Compressors = {
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

/** The rows `from` … `from + count - 1` of a column, which are stored together. */
export type ColumnTask = {
  readonly path: string;
  readonly metadata: FileMetaData;
  readonly name: string;
  readonly from: number;
  readonly count: number;
};

/** The values of a column, one for each row. */
export async function decodeColumn(file: AsyncBuffer, { metadata, name, from, count }: ColumnTask): Promise<unknown[]> {
  const rows = await parquetReadObjects({
    file,
    metadata,
    columns: [name],
    rowStart: from,
    rowEnd: from + count,
    compressors,
  });
  return rows.map((row) => row[name]);
}

/** Memory of a thread that decodes: for itself, and for each byte of a file, whose runs of equal values take little room. */
const [BASE_MB, MB_PER_MB] = [256, 1024];

/**
 * `decodeColumn` in a thread of its own: hyparquet makes as many values as a run inside a page states, and a damaged one states
 * any number. The thread then ends at its limit of memory.
 */
export function decodeInThread(task: ColumnTask, fileBytes: number): Promise<unknown[]> {
  const most = Math.min(BASE_MB + (MB_PER_MB * fileBytes) / 2 ** 20, Math.max(BASE_MB, totalmem() / 2 ** 21));
  const worker = new Worker(new URL('./parquet-decoder-worker.js', import.meta.url), {
    workerData: task,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: Math.ceil(most) },
  });
  return new Promise((resolve, reject) => {
    worker.on('message', resolve);
    worker.on('error', (error) =>
      reject(codeOf(error) === 'ERR_WORKER_OUT_OF_MEMORY' ? new Error('a page states more than it can hold') : error),
    );
    worker.on('exit', (code) => reject(new Error(`a thread that decodes it ended with code ${code}`)));
  });
}
