import { parentPort } from 'node:worker_threads';
import { messageOf } from '../base/errors.ts';
import { type ColumnTask, decodeColumn } from './parquet-decoder.ts';
import type { DecoderReply } from './parquet-decoder-thread.ts';
import { decodeVectors, type VectorTask } from './parquet-vector-decoder.ts';

const reply = (message: DecoderReply, transferred: readonly ArrayBuffer[] = []): void =>
  parentPort!.postMessage(message, transferred);
const decode = async (task: ColumnTask | VectorTask): Promise<void> => {
  if (!('double' in task)) return reply({ decoded: await decodeColumn(task) });
  const decoded = await decodeVectors(task);
  reply({ decoded }, 'numbers' in decoded ? [decoded.numbers.buffer as ArrayBuffer] : []);
};
parentPort!.on('message', (task: ColumnTask | VectorTask) =>
  decode(task).catch((error: unknown) => reply({ problem: messageOf(error) })),
);
