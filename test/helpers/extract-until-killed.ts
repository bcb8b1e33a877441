// Run as a process of its own by extract.test.ts: extracts features until batch `killAt`, then dies as if the power had failed.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { alignedDataset, openDataset, openIjb } from '../../src/data/index.ts';
import { extractFeatures } from '../../src/features/index.ts';
import { recordingEncoder } from './encoder.ts';

const [path, out, flip, killAt] = process.argv.slice(2) as [string, string, 'random' | 'mean', string];
const { encoder, batches } = recordingEncoder(() => {
  if (batches.length > Number(killAt)) process.kill(process.pid, 'SIGKILL');
});
const dataset = existsSync(join(path, 'IJBC')) ? alignedDataset(openIjb(path, 'IJBC')) : openDataset(path);
await extractFeatures(dataset, encoder, { out, batchSize: 4, workers: 1, flip, seed: 3 });
