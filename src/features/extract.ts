import { canonicalJson, digestOf } from '../artifacts/digest.ts';
import type { ArtifactOptions } from '../artifacts/write-artifact.ts';
import { progress } from '../base/progress.ts';
import { classKeysOf } from '../data/class-keys.ts';
import { referenceTo } from '../data/dataset-reference.ts';
import { type Dataset, Loader, sequentialOrder } from '../data/index.ts';
import type { Encoder } from '../encoders/index.ts';
import { type AppendOptions, appendEmbeddings, mirroredImages, type RowRange } from './append-embeddings.ts';
import { removeOtherParts } from './extraction-parts.ts';
import { type FeaturesInfo, modelOf, preprocessingOf } from './feature-set-artifact.ts';
import { writeFeatureSet } from './feature-set-writer.ts';
import { readSavedMissingRows, removeSavedMissingRows, reportMissingRows } from './missing-rows.ts';

export type ExtractOptions = Pick<ArtifactOptions, 'force' | 'inputs'> &
  Omit<AppendOptions, 'title' | 'range'> & {
    readonly out: string;
    /** Store float16: half the disk, and each number within 2⁻¹¹ of itself. */
    readonly half?: boolean;
    /** Only rows `from` … `to - 1`, as a set of their own; default: all. */
    readonly range?: RowRange;
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
  const { out, force = false, inputs = [], batchSize = 256, skipBadImages = false } = options;
  const { range = whole(dataset) } = options;
  const content = plannedContent(dataset, encoder, options);
  const { flip, seed, preprocessing } = content;
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
  return await writeFeatureSet(out, content, how, async (builder) => {
    if (!options.range) removeOtherParts(out, 1);
    const task = { ...options, title: 'extract', flip, batchSize, range };
    const missing = await appendEmbeddings(dataset, encoder, builder, task);
    if (!options.range) reportMissingRows(out, missing, content.dataset.count);
    removeSavedMissingRows(builder.directory);
    builder.markMissing(missing);
  });
}

const whole = ({ size }: Dataset) => ({ from: 0, to: size });

/** The content of the feature set that an extraction writes, without its embeddings. */
export function plannedContent(
  dataset: Dataset,
  encoder: Encoder,
  { flip = 'none', seed = 0, half = false, range: { from, to } = whole(dataset) }: ExtractOptions,
) {
  const { digest, size, classes } = dataset;
  return {
    dim: encoder.dim,
    classes,
    model: modelOf(encoder),
    dataset: {
      ...referenceTo(dataset),
      digest: to - from === size ? digest : digestOf(digest, `${from}-${to}`),
      count: to - from,
    },
    classKeys: classKeysOf(dataset),
    trainedClassKeys: encoder.trainedOn?.classKeys ?? null,
    id: dataset.hasOwnIds ? (row: number) => dataset.id(from + row) : null,
    flip,
    ...(flip === 'random' && { seed }),
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
