import { parentPort, workerData } from 'node:worker_threads';
import { openRegularFile } from '../base/regular-file.ts';
import { type ColumnTask, decodeColumn, parquetBuffer } from './parquet-decoder.ts';

const task = workerData as ColumnTask;
parentPort!.postMessage(await decodeColumn(parquetBuffer(task.path, openRegularFile(task.path)), task));
