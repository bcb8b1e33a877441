import type { OverwriteOptions } from '../artifacts/output-claim.ts';
import type { Space } from '../encoders/index.ts';
import type { EmbeddingShardInfo, EmbeddingsInfo, EmbedOptions } from '../features/index.ts';
import type { Shard } from '../features/shard.ts';
import type { Precision } from '../models/precisions.ts';

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
  readonly precision?: Precision;
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
