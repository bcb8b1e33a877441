import { optionHint, UserError } from '../base/errors.ts';
import { formatCount, progress } from '../base/progress.ts';

export type ExtractionRateOptions = {
  /** Folder of a finished run. */
  readonly model: string;
  /** Folder, or prefix of a .rec and .idx. */
  readonly dataset: string;
  readonly batchSize?: number;
  readonly workers?: number;
  /** Seconds to measure for, unless the images end before. */
  readonly seconds?: number;
};

/** Long enough for a few batches of a slow model. */
const SECONDS = 10;

/**
 * Measures how many images are read and embedded in a second, as `mixbct extract` does it. The first batch is not counted.
 * @throws UserError if the dataset has only one batch.
 */
export async function measureExtractionRate({
  model,
  dataset: path,
  batchSize = 256,
  workers = 1,
  seconds = SECONDS,
}: ExtractionRateOptions): Promise<number> {
  const [{ openInputDataset }, { Loader, sequentialOrder }, { openEncoder }] = await Promise.all([
    import('../data/input-dataset.ts'),
    import('../data/index.ts'),
    import('../runs/open-encoder.ts'),
  ]);
  using dataset = openInputDataset(path);
  using encoder = await openEncoder(model);
  if (dataset.size <= batchSize)
    throw new UserError(
      `${path} has ${formatCount(dataset.size, 'image')}, wanted more than one batch of ${batchSize} to measure a rate`,
      { hint: optionHint('a smaller --batch-size') },
    );
  await using loader = new Loader(dataset, { workers });
  const bar = progress('measure', seconds);
  let [images, start, elapsed] = [0, Number.NaN, 0];
  try {
    const order = sequentialOrder(dataset.size);
    for await (using batch of loader.epoch({ batchSize, imageSide: encoder.side, resize: encoder.resize, order })) {
      await encoder.embed(batch.images, batch.labels.length);
      const now = performance.now();
      if (Number.isNaN(start)) {
        start = now;
        continue;
      }
      images += batch.labels.length;
      elapsed = (now - start) / 1000;
      bar.update(Math.min(seconds, Math.round(elapsed)), `${Math.round(images / elapsed)} images/s`);
      if (elapsed >= seconds) break;
    }
  } finally {
    bar.stop();
  }
  return images / elapsed;
}
