// Run as a process of its own by extract.test.ts: extracts features until batch `killAt`, then dies as if the power had failed.
import { openDataset } from '../../src/data/index.ts';
import { extractFeatures } from '../../src/features/index.ts';
import { tellingEmbedder } from './embedder.ts';

const [path, out, killAt] = process.argv.slice(2) as [string, string, string];
const { embedder, batches } = tellingEmbedder(() => {
  if (batches.length > Number(killAt)) process.kill(process.pid, 'SIGKILL');
});
await extractFeatures(openDataset(path), embedder, { out, batchSize: 4, workers: 1, flip: 'random', seed: 3 });
