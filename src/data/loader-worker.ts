import { parentPort, workerData } from 'node:worker_threads';
import { UserError } from '../base/errors.ts';
import { type DecodeTask, decodeBatch, type UndecodableImage } from './batch-decoder.ts';
import type { Source } from './dataset.ts';
import { openSource } from './open-dataset.ts';

/** Main thread → worker: decode into this buffer. Worker → main thread: it is done. */
export type DecodeRequest = { readonly id: number; readonly task: DecodeTask; readonly pixels: Uint8Array };
export type DecodeResponse =
  | { readonly id: number; readonly bad: readonly UndecodableImage[] }
  | { readonly id: number; readonly problem: string };

const source = openSource((workerData as { readonly source: Source }).source);

parentPort!.on('message', async ({ id, task, pixels }: DecodeRequest) => {
  const answer = (what: DecodeResponse): void => parentPort!.postMessage(what);
  try {
    answer({ id, bad: await decodeBatch(source, task, pixels) });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    answer({ id, problem: error.message });
  }
});
