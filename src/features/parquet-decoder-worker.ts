import { parentPort } from 'node:worker_threads';
import { messageOf } from '../base/errors.ts';
import { type ColumnTask, type DecoderReply, decodeColumn } from './parquet-decoder.ts';

const reply = (message: DecoderReply): void => parentPort!.postMessage(message);
parentPort!.on('message', (task: ColumnTask) =>
  decodeColumn(task).then(
    (values) => reply({ values }),
    (error) => reply({ problem: messageOf(error) }),
  ),
);
