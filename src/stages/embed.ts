import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { cachedFileDigest } from '../artifacts/cached-digest.ts';
import { canonicalJson, digestOf } from '../artifacts/digest.ts';
import type { OverwriteOptions } from '../artifacts/output-claim.ts';
import type { Space } from '../encoders/index.ts';
import { defineStage, reference } from '../experiment/stage.ts';
import { embeddingsFolderArtifact } from '../features/embeddings-folder-artifact.ts';
import type { EmbeddingShardInfo, EmbeddingsInfo, EmbedOptions } from '../features/index.ts';
import type { Shard } from '../features/shard.ts';
import { type PrecisionChoice, precisionChoices, requireNamed } from '../models/precisions.ts';

export type EmbedPathsOptions = Omit<EmbedOptions, 'inputs'> & {
  /** Folder of a finished run. */
  readonly model: string;
  /** Images, folders of images, objects and prefixes (`s3://`), `-` for a list on standard input. */
  readonly paths?: readonly string[];
  /** File that lists images: a path, or a JSON object with `id` and `path`, on each line. */
  readonly list?: string | undefined;
  /** old: through the projection of the recipe. */
  readonly space?: Space;
  /** What the backbone computes in. */
  readonly precision?: PrecisionChoice;
};

/** Embeds images without labels with a trained model; images and output are files or objects (`s3://`). → the description of the file; with `shard`, of the shard beside it */
export async function embedPaths(options: EmbedPathsOptions & { readonly shard?: undefined }): Promise<EmbeddingsInfo>;
export async function embedPaths(options: EmbedPathsOptions & { readonly shard: Shard }): Promise<EmbeddingShardInfo>;
export async function embedPaths(
  options: EmbedPathsOptions & { readonly shard?: Shard | undefined },
): Promise<EmbeddingsInfo | EmbeddingShardInfo>;
export async function embedPaths({
  model: run,
  paths = [],
  list,
  space = 'own',
  precision = 'float32',
  shard,
  ...options
}: EmbedPathsOptions & { readonly shard?: Shard | undefined }): Promise<EmbeddingsInfo | EmbeddingShardInfo> {
  const [{ listImages, unlabelledImages }, { embedShardTo, embedTo, formatOf }, { openEncoder }] = await Promise.all([
    import('../data/image-list.ts'),
    import('../features/index.ts'),
    import('../runs/open-encoder.ts'),
  ]);
  if (shard) requireNamed(precision, 'shards');
  formatOf(options.out); // before a list of millions is read
  const images = unlabelledImages(await listImages(paths, { list }), list ?? nameOf(paths));
  using encoder = await openEncoder(run, { space, precision });
  const to = { ...options, inputs: [run, list, ...paths] };
  return shard ? await embedShardTo(images, encoder, shard, to) : await embedTo(images, encoder, to);
}

/**
 * Merges the shards of `embed`, in any order, into the bytes that one process would have written. Shards and output are files or
 * objects (`s3://`).
 * @throws UserError if one is missing, unfinished, given twice or of another list, model or options; FileError if one is damaged
 */
export async function mergeShards(
  shards: readonly string[],
  out: string,
  options: Pick<OverwriteOptions, 'force'> = {},
): Promise<EmbeddingsInfo> {
  const { mergeShardsTo } = await import('../features/index.ts');
  return await mergeShardsTo(shards, out, options);
}

/** What messages call the images of some paths. */
function nameOf(paths: readonly string[]): string {
  if (paths.length !== 1) return `${paths.length} paths`;
  return paths[0] === '-' ? 'standard input' : paths[0]!;
}

export const embedStage = defineStage({
  kind: 'embed',
  summary: 'embed images without labels with a trained model, into one file',
  inputs: { model: reference },
  options: {
    images: z.array(z.string().min(1)).min(1).describe('files, folders at any depth, s3:// objects and prefixes'),
    format: z.enum(['npy', 'jsonl', 'parquet']).default('npy'),
    flip: z.enum(['none', 'mean']).default('none'),
    space: z.enum(['own', 'old']).default('own').describe('old: through the projection of the recipe'),
    precision: z.enum(precisionChoices).optional().describe('what the backbone computes in'),
    half: z.boolean().default(false).describe('rows in float16'),
    skipBadImages: z.boolean().default(false),
  },
  describe: ({ model, images }) => `embed ${images.join(', ')} with ${model}`,
  run: async ({ model, images, format, precision, ...rest }, { out, force, workers, signal }) => {
    const options = { ...rest, ...(precision && { precision }) };
    const resume = { key: digestOf(canonicalJson({ images, format, ...options })), isWorthKeeping: hasEntries };
    return await embeddingsFolderArtifact.write(out, { force, inputs: [model], resume }, async (folder) => {
      const file = join(folder, `embeddings.${format}`);
      const { count, skipped, dim, model: by } = await embedPaths({ ...options, model, paths: images, out: file, force: true, workers, signal }); // biome-ignore format: short
      return { file: basename(file), digest: cachedFileDigest(file), count, skipped, dim, model: by };
    });
  },
});

const hasEntries = (folder: string): boolean => readdirSync(folder).length > 0;
