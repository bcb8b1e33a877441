import { parentPort, workerData } from 'node:worker_threads';
import type { Source } from './dataset.ts';
import { type DecodeCheckRequest, type DecodeCheckResponse, decodeAll } from './decode-check.ts';
import { openSource } from './open-dataset.ts';

const source = openSource((workerData as { readonly source: Source }).source);

parentPort!.on('message', async (positions: DecodeCheckRequest) => {
  parentPort!.postMessage((await decodeAll(source, positions)) satisfies DecodeCheckResponse);
});
