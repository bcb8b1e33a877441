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
  /** The open file: another one may have taken its path. */
  readonly fd: number;
  /** Whether bytes that are not said to be text are taken for text. */
  readonly utf8: boolean;
  readonly metadata: FileMetaData;
  readonly name: string;
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

/** What a thread that decodes answers. */
export type DecoderReply = { readonly values: unknown[] } | { readonly problem: string };

/** Memory of a thread that decodes: for itself, and for each byte of a file, whose runs of equal values take little room. */
const [BASE_MB, MB_PER_MB] = [256, 1024];

/** A thread that decoded, for the next task with the same limit of memory: one takes a tenth of a second to start. */
let idle: { readonly worker: Worker; readonly limitMb: number } | null = null;

/**
 * `decodeColumn` in a thread of its own: hyparquet makes as many values as a run inside a page states, and a damaged one states
 * any number. The thread then ends at its limit of memory.
 */
export async function decodeInThread(task: ColumnTask, fileBytes: number): Promise<unknown[]> {
  const wanted = 2 ** Math.ceil(Math.log2(BASE_MB + (MB_PER_MB * fileBytes) / 2 ** 20));
  const limitMb = Math.ceil(Math.min(wanted, Math.max(BASE_MB, totalmem() / 2 ** 21)));
  const { worker } = idle?.limitMb === limitMb ? idle : { worker: startDecoder(limitMb) };
  if (worker === idle?.worker) idle = null;
  worker.ref();
  const reply = await new Promise<DecoderReply>((resolve, reject) => {
    worker.on('message', resolve);
    worker.on('error', (error) =>
      reject(codeOf(error) === 'ERR_WORKER_OUT_OF_MEMORY' ? new Error('a page states more than it can hold') : error),
    );
    worker.on('exit', (code) => reject(new Error(`a thread that decodes it ended with code ${code}`)));
    worker.postMessage(task);
  });
  for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event);
  worker.unref(); // it does not keep the process
  void idle?.worker.terminate();
  idle = { worker, limitMb };
  if ('problem' in reply) throw new Error(reply.problem);
  return reply.values;
}

const startDecoder = (maxOldGenerationSizeMb: number): Worker =>
  new Worker(new URL('./parquet-decoder-worker.js', import.meta.url), {
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb },
  });
