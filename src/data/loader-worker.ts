import { parentPort, workerData } from 'node:worker_threads';
import { type DecodeTask, decodeBatch, type UndecodableImage } from './batch-decoder.ts';
import type { Source } from './dataset.ts';
import { openSource } from './open-dataset.ts';

/** Main thread → worker: decode into this buffer. Worker → main thread: it is done. */
export type DecodeRequest = { readonly id: number; readonly task: DecodeTask; readonly pixels: Uint8Array };
export type DecodeResponse = { readonly id: number; readonly bad: readonly UndecodableImage[] };

const source = openSource((workerData as { readonly source: Source }).source);

parentPort!.on('message', async ({ id, task, pixels }: DecodeRequest) => {
  parentPort!.postMessage({ id, bad: await decodeBatch(source, task, pixels) } satisfies DecodeResponse);
});
