// Run as a process of its own by embed-images.test.ts: embeds images until batch `killAt`, then dies as if the power had failed.
import { listImages, unlabelledImages } from '../../src/data/image-list.ts';
import { embedShardTo, embedTo } from '../../src/features/index.ts';
import { recordingEncoder } from './encoder.ts';

const [path, out, killAt, shard] = process.argv.slice(2) as [string, string, string, string | undefined];
const { encoder, batches } = recordingEncoder(() => {
  if (batches.length > Number(killAt)) process.kill(process.pid, 'SIGKILL');
});
const images = unlabelledImages(await listImages([path]), path);
const options = { out, batchSize: 4, workers: 1 };
if (shard === undefined) await embedTo(images, encoder, options);
else await embedShardTo(images, encoder, { shard: Number(shard), shards: 3 }, options);
