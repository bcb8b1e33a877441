import { totalmem } from 'node:os';
import { Worker } from 'node:worker_threads';
import { codeOf, FileError } from '../base/errors.ts';
import type { ColumnTask } from './parquet-decoder.ts';
import type { DecodedVectors, VectorTask } from './parquet-vector-decoder.ts';

/** What a thread that decodes answers. */
export type DecoderReply = { readonly decoded: unknown } | { readonly problem: string };

/** Memory of a thread that decodes: for itself, and for each byte of a file, whose runs of equal values take little room. */
const [BASE_MB, MB_PER_MB] = [256, 1024];

/** A thread that decoded, for the next task with the same limit of memory: one takes a tenth of a second to start. */
let idle: { readonly worker: Worker; readonly limitMb: number } | null = null;

/** The values of a column, one for each row. @throws FileError if they do not fit the thread's memory */
export const columnInThread = (task: ColumnTask, fileBytes: number): Promise<unknown[]> =>
  decodeInThread(task, fileBytes) as Promise<unknown[]>;

/** The vectors in a column. @throws FileError if they do not fit the thread's memory */
export const vectorsInThread = (task: VectorTask, fileBytes: number): Promise<DecodedVectors> =>
  decodeInThread(task, fileBytes) as Promise<DecodedVectors>;

/**
 * Decodes in a thread of its own: hyparquet makes as many values as a run inside a page states, and a damaged one states
 * any number. The thread then ends at its limit of memory.
 */
async function decodeInThread(task: ColumnTask | VectorTask, fileBytes: number): Promise<unknown> {
  const wanted = 2 ** Math.ceil(Math.log2(BASE_MB + (MB_PER_MB * fileBytes) / 2 ** 20));
  const limitMb = Math.ceil(Math.min(wanted, Math.max(BASE_MB, totalmem() / 2 ** 21)));
  const { worker } = idle?.limitMb === limitMb ? idle : { worker: startDecoder(limitMb) };
  if (worker === idle?.worker) idle = null;
  worker.ref();
  const reply = await new Promise<DecoderReply>((resolve, reject) => {
    worker.on('message', resolve);
    worker.on('error', (error) =>
      reject(codeOf(error) === 'ERR_WORKER_OUT_OF_MEMORY' ? tooLarge(task, limitMb) : error),
    );
    worker.on('exit', (code) => reject(new Error(`a thread that decodes it ended with code ${code}`)));
    worker.postMessage(task);
  });
  for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event);
  worker.unref(); // it does not keep the process
  void idle?.worker.terminate();
  idle = { worker, limitMb };
  if ('problem' in reply) throw new Error(reply.problem);
  return reply.decoded;
}

const tooLarge = ({ path, name, from, count }: ColumnTask, limitMb: number): FileError =>
  new FileError(
    path,
    `column ${name} of the row group of ${count} rows from row ${from} on needs more than ${limitMb} MB of memory`,
    'write it with smaller row groups (row_group_size); if they are small, it is damaged',
  );

const startDecoder = (maxOldGenerationSizeMb: number): Worker =>
  new Worker(new URL('./parquet-decoder-worker.js', import.meta.url), {
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb },
  });
