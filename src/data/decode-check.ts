import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { messageOf } from '../base/errors.ts';
import { progress } from '../base/progress.ts';
import type { Dataset, ImageFile } from './dataset.ts';
import { decode } from './decode.ts';
import { openSource } from './open-dataset.ts';

/** Height and width of a decoded image, or why decoding failed. */
export type DecodeResult =
  | { readonly i: number; readonly height: number; readonly width: number }
  | { readonly i: number; readonly problem: string };

/** Main thread → worker: positions to decode. Worker → main thread: their results in the same order. */
export type DecodeCheckRequest = Int32Array;
export type DecodeCheckResponse = readonly DecodeResult[];

/** Images that one message to a worker names. */
const CHUNK = 64;
/** Threads take 50 ms to start: fewer images than this are decoded without them. */
const ALONE_BELOW = 512;

/** Decodes images. Returns problems, does not throw them. */
export async function decodeAll(source: ImageFile, positions: Iterable<number>): Promise<DecodeResult[]> {
  const results: DecodeResult[] = [];
  for (const i of positions) {
    try {
      const { height, width } = await decode(source.encoded(i));
      results.push({ i, height, width });
    } catch (error) {
      results.push({ i, problem: messageOf(error) });
    }
  }
  return results;
}

/**
 * Decodes the images at `positions` in as many threads as the machine has cores. Yields the result of each, in no
 * particular order.
 */
export async function checkImages(
  { source }: Pick<Dataset, 'source'>,
  positions: Int32Array,
  take: (result: DecodeResult) => void,
): Promise<void> {
  const bar = progress('decode', positions.length);
  let done = 0;
  const takeAll = (results: DecodeCheckResponse): void => {
    for (const result of results) take(result);
    done += results.length;
    bar.update(done);
  };
  try {
    if (positions.length < ALONE_BELOW) {
      const file = openSource(source);
      try {
        for (let at = 0; at < positions.length; at += CHUNK)
          takeAll(await decodeAll(file, positions.subarray(at, at + CHUNK)));
      } finally {
        file.close();
      }
    } else await inThreads(source, positions, takeAll);
  } finally {
    bar.stop();
  }
}

async function inThreads(
  source: Dataset['source'],
  positions: Int32Array,
  take: (results: DecodeCheckResponse) => void,
): Promise<void> {
  let next = 0;
  const work = (worker: Worker): Promise<void> =>
    new Promise((resolve, reject) => {
      const order = (): void => {
        if (next >= positions.length) resolve();
        else worker.postMessage(positions.slice(next, next + CHUNK) satisfies DecodeCheckRequest);
        next += CHUNK;
      };
      worker.on('message', (results: DecodeCheckResponse) => {
        take(results);
        order();
      });
      worker.on('error', reject);
      worker.on('exit', (code) => reject(new Error(`a thread that decodes images ended with code ${code}`)));
      order();
    });
  const count = Math.min(availableParallelism(), Math.ceil(positions.length / CHUNK));
  const workers = Array.from(
    { length: count },
    () => new Worker(new URL('./decode-check-worker.js', import.meta.url), { workerData: { source }, execArgv: [] }),
  );
  try {
    await Promise.all(workers.map(work));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
