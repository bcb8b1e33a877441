import type { Dataset, Loader } from '../data/index.ts';
import type { Encoder } from '../encoders/index.ts';
import { narrow, type ProcessGroup, scope, tensor, toFloat32 } from '../torch/index.ts';

/** Images embedded at a time. */
const EMBED_BATCH = 256;

export type EmbedSetOptions = {
  readonly group: ProcessGroup;
  readonly skipBad: false | 'blank';
  /** Called before each batch, equally often in every process. It may throw to stop. */
  readonly beforeBatch: () => void;
};

/**
 * Embeds the dataset in its order without augmentation. Each process embeds its share and gets all embeddings.
 * With `blank`, the embeddings of unreadable images are zeros. → flat [N · D]
 */
export async function embedSet(
  encoder: Pick<Encoder, 'side' | 'resize' | 'embed'>,
  loader: Loader,
  dataset: Dataset,
  { group, skipBad, beforeBatch }: EmbedSetOptions,
): Promise<Float32Array> {
  const each = Math.ceil(dataset.size / group.processes);
  const order = Int32Array.from({ length: each }, (_, i) => (i * group.processes + group.rank) % dataset.size);
  const parts: Float32Array[] = [];
  const { side: imageSide, resize } = encoder;
  const batches = loader.epoch({ batchSize: EMBED_BATCH, imageSide, resize, order, skipBad });
  for await (using batch of batches) {
    beforeBatch();
    const count = batch.labels.length;
    const rows = await encoder.embed(batch.images, count);
    const dim = rows.length / count;
    for (const row of batch.blank) rows.fill(0, row * dim, (row + 1) * dim);
    parts.push(rows);
  }
  const all = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  if (group.processes === 1) return all;
  const dim = all.length / each;
  return scope(() => toFloat32(narrow(group.gather(tensor(all, { shape: [each, dim] })), 0, 0, dataset.size)));
}
