import type { Space } from '../encoders/index.ts';
import type { EmbeddingShardInfo, EmbeddingsInfo, EmbedOptions } from '../features/index.ts';
import type { Shard } from '../features/shard.ts';
import type { Precision } from '../models/precisions.ts';

export type EmbedPathsOptions = Omit<EmbedOptions, 'inputs'> & {
  /** Folder of a finished run. */
  readonly model: string;
  /** Images, folders of images, `-` for a list on standard input. */
  readonly paths?: readonly string[];
  /** File that lists images: a path, or a JSON object with `id` and `path`, on each line. */
  readonly list?: string | undefined;
  /** old: through the projection of the recipe. */
  readonly space?: Space;
  /** What the backbone computes in. */
  readonly precision?: Precision;
};

/** Embeds images without labels with a trained model. → the description of the file; with `shard`, of the shard beside it */
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
  const [{ listImages, unlabelledImages }, { embedImages, embedShard, formatOf }, { openEncoder }] = await Promise.all([
    import('../data/image-list.ts'),
    import('../features/index.ts'),
    import('../runs/open-encoder.ts'),
  ]);
  formatOf(options.out); // before a list of millions is read
  const images = unlabelledImages(await listImages(paths, { list }), list ?? nameOf(paths));
  using encoder = await openEncoder(run, { space, precision });
  const to = { ...options, inputs: [run, list, ...paths] };
  return shard ? await embedShard(images, encoder, shard, to) : await embedImages(images, encoder, to);
}

/** What messages call the images of some paths. */
function nameOf(paths: readonly string[]): string {
  if (paths.length !== 1) return `${paths.length} paths`;
  return paths[0] === '-' ? 'standard input' : paths[0]!;
}
