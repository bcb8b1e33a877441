import { parentPort, workerData } from 'node:worker_threads';
import { openSource, type Source } from './dataset.ts';
import { type Bad, type FillTask, fillBatch } from './fill.ts';

/** Main thread → worker: fill this buffer. Worker → main thread: it is filled. */
export type Order = { readonly id: number; readonly task: FillTask; readonly pixels: Uint8Array };
export type Answer = { readonly id: number; readonly bad: readonly Bad[] };

const source = openSource((workerData as { readonly source: Source }).source);

parentPort!.on('message', async ({ id, task, pixels }: Order) => {
  parentPort!.postMessage({ id, bad: await fillBatch(source, task, pixels) } satisfies Answer);
});
