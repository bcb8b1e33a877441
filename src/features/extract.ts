import { progress, say } from '../base/progress.ts';
import { mirrorInto } from '../data/augment.ts';
import { type BadImage, type Batch, type Dataset, Loader, sequentialOrder } from '../data/index.ts';
import { type FeaturesInfo, writeFeatureSet } from './feature-set.ts';

/** A model as extraction sees it. Pixels [B, side, side, 3] of one step → embeddings, flat [B · D], not normalised. */
export type Embedder = {
  readonly name: string;
  /** Digest of its weights. */
  readonly digest: string;
  /** Preset of behaviour it was trained under, and where its recipe differs from the reference. */
  readonly preset?: string;
  readonly differences?: readonly string[];
  readonly dim: number;
  readonly side: number;
  /** What it computes in; float32 unless told. */
  readonly precision?: FeaturesInfo['precision'];
  embed(images: Uint8Array, count: number): Float32Array;
};

export type ExtractOptions = {
  readonly out: string;
  readonly force?: boolean;
  /** `none`: features of the image itself; `mean` of image and mirror; `random`: one of both, as the reference does (D-07). */
  readonly flip?: 'none' | 'mean' | 'random';
  /** Seed of random flips. */
  readonly seed?: number;
  /** Store float16: half the disk, and each number within 2⁻¹¹ of itself. */
  readonly half?: boolean;
  readonly batchSize?: number;
  readonly workers?: number;
  /** Go on past an image that cannot be read: its row is the embedding of another image of its batch. */
  readonly skipBadImages?: boolean;
};

/**
 * Embeds a dataset in its order. Only a batch of it is in memory.
 * @throws FileError naming the first image that cannot be read, unless `skipBadImages`; UserError if an embedding is not
 * finite.
 */
export async function extractFeatures(
  dataset: Dataset,
  embedder: Embedder,
  options: ExtractOptions,
): Promise<FeaturesInfo> {
  const { out, force = false, flip = 'none', batchSize = 256, workers = 1, skipBadImages = false, seed = 0 } = options;
  const { half = false } = options;
  const content = {
    dim: embedder.dim,
    classes: dataset.classes,
    model: {
      name: embedder.name,
      digest: embedder.digest,
      preset: embedder.preset ?? 'default',
      differences: [...(embedder.differences ?? [])],
    },
    dataset: { path: dataset.path, digest: dataset.digest, count: dataset.size, classes: dataset.classes },
    flip,
    dtype: half ? ('float16' as const) : ('float32' as const),
    precision: embedder.precision ?? 'float32',
    labels: dataset.labels(),
    families: dataset.families(),
  };
  return writeFeatureSet(out, content, { force }, async (append) => {
    await using loader = new Loader(dataset, { workers });
    const bar = progress('extract', dataset.size);
    let done = 0;
    try {
      const batches = loader.epoch({
        batchSize,
        imageSide: embedder.side,
        order: sequentialOrder(dataset.size),
        skipBad: skipBadImages,
        ...(flip === 'random' && { augment: { flip: true, rotateDeg: 0, scale: 0, shift: 0 }, seed }),
      });
      for await (using batch of batches) {
        append(flip === 'mean' ? embedBoth(batch, embedder) : embedder.embed(batch.images, batch.labels.length));
        done += batch.labels.length;
        bar.update(done);
      }
    } finally {
      bar.stop();
    }
    if (loader.bad.length > 0) warnOfStandIns(loader.bad);
  });
}

/** A row of a stand-in looks like any other, so it is named once, here. */
function warnOfStandIns(bad: readonly BadImage[]): void {
  const rows = bad.slice(0, 10).map(({ index, name, problem }) => `  row ${index}: ${name} (${problem})`);
  say(
    `rows that hold the embedding of another image, for their own could not be read (${bad.length}):\n${rows.join('\n')}`,
  );
}

/** The mean of the embeddings of each image and its mirror, flat [B · D]. */
function embedBoth({ images, labels }: Batch, embedder: Embedder): Float32Array {
  const { side } = embedder;
  const bytes = side * side * 3;
  const mirrored = new Uint8Array(images.length);
  for (let i = 0; i < labels.length; i++)
    mirrorInto(images.subarray(i * bytes, (i + 1) * bytes), mirrored, i * bytes, side);
  const other = embedder.embed(mirrored, labels.length).slice(); // the embedder may use its buffer again
  return embedder.embed(images, labels.length).map((value, i) => (value + other[i]!) / 2);
}
