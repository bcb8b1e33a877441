import { canonicalJson, digestOf } from '../artifacts/digest.ts';
import type { ArtifactOptions } from '../artifacts/write-artifact.ts';
import { Interrupted } from '../base/errors.ts';
import { progress } from '../base/progress.ts';
import { mirrorInto } from '../data/augment.ts';
import { classKeysOf } from '../data/class-keys.ts';
import { referenceTo } from '../data/dataset-reference.ts';
import { type Batch, type Dataset, Loader, sequentialOrder } from '../data/index.ts';
import type { Encoder } from '../encoders/index.ts';
import { removeOtherParts } from './extraction-parts.ts';
import { type FeaturesInfo, preprocessingOf } from './feature-set-artifact.ts';
import { writeFeatureSet } from './feature-set-writer.ts';
import {
  type MissingRow,
  readSavedMissingRows,
  removeSavedMissingRows,
  reportMissingRows,
  saveMissingRows,
} from './missing-rows.ts';

export type ExtractOptions = Pick<ArtifactOptions, 'force' | 'inputs'> & {
  readonly out: string;
  /** `none`: features of the image itself; `mean` of image and mirror; `random`: one of both, as the reference does (D-07). */
  readonly flip?: 'none' | 'mean' | 'random';
  /** Seed of random flips. */
  readonly seed?: number;
  /** Store float16: half the disk, and each number within 2⁻¹¹ of itself. */
  readonly half?: boolean;
  readonly batchSize?: number;
  readonly workers?: number;
  /** Only rows `from` … `to - 1`, as a set of their own; default: all. */
  readonly range?: { readonly from: number; readonly to: number };
  /** Skip unreadable images: their rows are zeros and marked missing. */
  readonly skipBadImages?: boolean;
  /** When it fires, extraction stops after the next batch and keeps the rows. */
  readonly signal?: AbortSignal;
};

/**
 * Embeds a dataset in its order and writes a feature set. Memory holds one batch. An extraction that was killed or failed
 * resumes where it stopped if weights, images, flips and preprocessing are the same.
 * @throws FileError naming the first unreadable image, unless `skipBadImages`; UserError if an embedding is non-finite;
 * Interrupted if `signal` fires.
 */
export async function extractFeatures(
  dataset: Dataset,
  encoder: Encoder,
  options: ExtractOptions,
): Promise<FeaturesInfo> {
  const { out, force = false, inputs = [], batchSize = 256, workers = 1, skipBadImages = false, seed = 0 } = options;
  const { range = whole(dataset) } = options;
  const content = plannedContent(dataset, encoder, options);
  const { flip, preprocessing } = content;
  const identity = canonicalJson({
    model: encoder.digest,
    dataset: content.dataset.digest,
    ...(content.dataset.files && { files: content.dataset.files }),
    shape: [content.dataset.count, encoder.dim, encoder.side],
    flip: flip === 'random' ? [flip, seed] : flip,
    preprocessing,
    dtype: content.dtype,
    precision: content.precision,
    missing: 'zeros',
  });
  // unless images may be skipped, unreadable ones of an earlier attempt are read again
  const valid = (directory: string): number =>
    skipBadImages ? Number.POSITIVE_INFINITY : (readSavedMissingRows(directory)[0]?.row ?? Number.POSITIVE_INFINITY);
  const resume = { identity, step: batchSize, valid };
  const replacing = { force, inputs: [dataset.path, ...inputs] };
  const how = { ...replacing, resume };
  return await writeFeatureSet(out, content, how, async ({ append, markMissing, from, directory }) => {
    if (!options.range) removeOtherParts(out, 1);
    await using loader = new Loader(dataset, { workers });
    const before = readSavedMissingRows(directory).filter(({ row }) => row < from);
    if (from > 0) saveMissingRows(directory, before); // later ones are read again
    let missing = before;
    const bar = progress('extract', content.dataset.count);
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
        bar.update(done);
        if (options.signal?.aborted && done < content.dataset.count)
          throw new Interrupted(`stopped at image ${done} of ${content.dataset.count}`);
      }
    } finally {
      bar.stop();
    }
    if (!options.range) reportMissingRows(out, missing, content.dataset.count);
    removeSavedMissingRows(directory);
    markMissing(missing);
  });
}

/** The loader's unreadable images as rows of a set that begins at image `first`. */
const missingOf = ({ bad }: Loader, dataset: Dataset, first: number): MissingRow[] =>
  bad.map(({ index, problem }) => ({ row: index - first, id: dataset.id(index), problem }));

/** Embeddings of a batch, flat [B · D]; zeros for unreadable images. */
async function embedBatch(batch: Batch, encoder: Encoder, flip: ExtractOptions['flip']): Promise<Float32Array> {
  const { images, labels } = batch;
  const rows = await (flip === 'mean' ? embedBoth(batch, encoder) : encoder.embed(images, labels.length));
  for (const row of batch.blank) rows.fill(0, row * encoder.dim, (row + 1) * encoder.dim);
  return rows;
}

const whole = ({ size }: Dataset) => ({ from: 0, to: size });

/** The content of the feature set that an extraction writes, without its embeddings. */
export function plannedContent(
  dataset: Dataset,
  encoder: Encoder,
  { flip = 'none', half = false, range: { from, to } = whole(dataset) }: ExtractOptions,
) {
  const { digest, size, classes } = dataset;
  const { name, trainedOn, preset, differences } = encoder;
  return {
    dim: encoder.dim,
    classes,
    model: {
      name,
      digest: encoder.digest,
      preset,
      differences: [...differences],
      trainedOn: trainedOn?.dataset ?? null,
    },
    dataset: {
      ...referenceTo(dataset),
      digest: to - from === size ? digest : digestOf(digest, `${from}-${to}`),
      count: to - from,
    },
    classKeys: classKeysOf(dataset),
    trainedClassKeys: trainedOn?.classKeys ?? null,
    id: dataset.hasOwnIds ? (row: number) => dataset.id(from + row) : null,
    flip,
    preprocessing: preprocessingOf(dataset, encoder),
    dtype: half ? ('float16' as const) : ('float32' as const),
    precision: encoder.precision,
    labels: dataset.labels().subarray(from, to),
    families: dataset.families().subarray(from, to),
  };
}

/** Embeddings of N images and of their mirror images, each flat [N · D]. */
export type FaceEmbeddings = {
  readonly original: Float32Array;
  readonly mirrored: Float32Array;
  /** D */
  readonly dim: number;
};

/**
 * Embeds every image of a dataset and its mirror image in memory, for a verification pack.
 * @throws FileError naming the first unreadable image.
 */
export async function embedFaces(
  dataset: Dataset,
  encoder: Encoder,
  { batchSize = 256, workers = 1 }: { readonly batchSize?: number; readonly workers?: number } = {},
): Promise<FaceEmbeddings> {
  const { dim, side, resize } = encoder;
  const [original, mirrored] = [new Float32Array(dataset.size * dim), new Float32Array(dataset.size * dim)];
  await using loader = new Loader(dataset, { workers });
  const bar = progress('embed', dataset.size);
  let done = 0;
  try {
    const order = sequentialOrder(dataset.size);
    for await (using batch of loader.epoch({ batchSize, imageSide: side, resize, order })) {
      const count = batch.labels.length;
      original.set(await encoder.embed(batch.images, count), done * dim);
      mirrored.set(await encoder.embed(mirroredImages(batch, side), count), done * dim);
      done += count;
      bar.update(done);
    }
  } finally {
    bar.stop();
  }
  return { original, mirrored, dim };
}

function mirroredImages({ images, labels }: Batch, side: number): Uint8Array {
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
