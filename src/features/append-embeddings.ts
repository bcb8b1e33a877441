import { Interrupted } from '../base/errors.ts';
import { progress } from '../base/progress.ts';
import { mirrorInto } from '../data/augment.ts';
import type { ImageSet } from '../data/dataset.ts';
import { type Batch, Loader, sequentialOrder } from '../data/index.ts';
import type { Encoder } from '../encoders/index.ts';
import { type MissingRow, readSavedMissingRows, saveMissingRows } from './missing-rows.ts';
import type { RowsBuilder } from './rows-writer.ts';

/** Rows `from` … `to - 1`. */
export type RowRange = { readonly from: number; readonly to: number };

export type AppendOptions = {
  /** What the progress is called. */
  readonly title: string;
  /** The images of the dataset to embed. */
  readonly range: RowRange;
  /** `none`: features of the image itself; `mean` of image and mirror; `random`: one of both, as the reference does (D-07). */
  readonly flip?: 'none' | 'mean' | 'random';
  /** Seed of random flips. */
  readonly seed?: number;
  readonly batchSize?: number;
  readonly workers?: number;
  /** Skip unreadable images: their rows are zeros and marked missing. */
  readonly skipBadImages?: boolean;
  /** When it fires, the work stops after the next batch and keeps the rows. */
  readonly signal?: AbortSignal;
};

/**
 * Appends the embeddings of a dataset's images in order, a batch in memory at a time; the rows that the builder has are
 * passed over. → rows without an embedding, which were appended as zeros; until `removeSavedMissingRows` the folder keeps them, too
 * @throws FileError naming the first unreadable image, unless `skipBadImages`; Interrupted if `signal` fires.
 */
export async function appendEmbeddings(
  dataset: ImageSet,
  encoder: Encoder,
  { append, from, directory }: RowsBuilder,
  { title, range, flip = 'none', seed = 0, batchSize = 256, workers = 1, skipBadImages = false, signal }: AppendOptions,
): Promise<readonly MissingRow[]> {
  await using loader = new Loader(dataset, { workers });
  const before = readSavedMissingRows(directory).filter(({ row }) => row < from);
  if (from > 0) saveMissingRows(directory, before); // later ones are read again
  let missing: readonly MissingRow[] = before;
  const count = range.to - range.from;
  const bar = progress(title, count);
  const start = performance.now();
  let done = from;
  try {
    const batches = loader.epoch({
      batchSize,
      imageSide: encoder.side,
      resize: encoder.resize,
      order: sequentialOrder(dataset.size).subarray(range.from, range.to),
      firstBatch: from / batchSize,
      skipBad: skipBadImages && 'blank',
      ...(flip === 'random' && { augment: { flip: true, rotateDeg: 0, scale: 0, shift: 0 }, seed }),
    });
    for await (using batch of batches) {
      if (batch.blank.length > 0) {
        missing = [...before, ...missingOf(loader, dataset, range.from)];
        saveMissingRows(directory, missing);
      }
      append(await embedBatch(batch, encoder, flip));
      done += batch.labels.length;
      bar.update(done, rateText(done - from, performance.now() - start));
      if (signal?.aborted && done < count) throw new Interrupted(`stopped at image ${done} of ${count}`);
    }
  } finally {
    bar.stop();
  }
  return missing;
}

/** `431 images/s`, `0.7 images/s` */
function rateText(images: number, ms: number): string {
  const rate = (1000 * images) / Math.max(1, ms);
  return `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} images/s`;
}

/** The loader's unreadable images as rows of a set that begins at image `first`. */
const missingOf = ({ bad }: Loader, dataset: ImageSet, first: number): MissingRow[] =>
  bad.map(({ index, problem }) => ({ row: index - first, id: dataset.id(index), problem }));

/** Embeddings of a batch, flat [B · D]; zeros for unreadable images. */
async function embedBatch(batch: Batch, encoder: Encoder, flip: AppendOptions['flip']): Promise<Float32Array> {
  const { images, labels } = batch;
  const rows = await (flip === 'mean' ? embedBoth(batch, encoder) : encoder.embed(images, labels.length));
  for (const row of batch.blank) rows.fill(0, row * encoder.dim, (row + 1) * encoder.dim);
  return rows;
}

/** The images of a batch, mirrored. [B, side, side, 3] */
export function mirroredImages({ images, labels }: Batch, side: number): Uint8Array {
  const bytes = side * side * 3;
  const mirrored = new Uint8Array(images.length);
  for (let i = 0; i < labels.length; i++)
    mirrorInto(images.subarray(i * bytes, (i + 1) * bytes), mirrored, i * bytes, side);
  return mirrored;
}

/** The mean of the embeddings of each image and its mirror, flat [B · D]. */
async function embedBoth(batch: Batch, encoder: Encoder): Promise<Float32Array> {
  const count = batch.labels.length;
  const other = await encoder.embed(mirroredImages(batch, encoder.side), count);
  return (await encoder.embed(batch.images, count)).map((value, i) => (value + other[i]!) / 2);
}
