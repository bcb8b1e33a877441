import { formatCount } from '../base/progress.ts';
import { parseShard } from '../features/shard.ts';
import { command, group, interruptible } from './context.ts';

const OUT = 'file to write: .npy (ids and a description beside it), .jsonl or .parquet';
const SHARD = 'embed only part i of n, into a folder beside the output; merge them afterwards';

type Embedded = { readonly count: number; readonly dim: number; readonly model: { readonly name: string } };
const told = ({ count, dim, model }: Embedded): string =>
  `${formatCount(count, 'embedding')} of ${dim} dimensions by ${model.name}`;

export const embedCommand = () =>
  command('embed', 'embed images without labels with a trained model')
    .example(
      'mixbct embed runs/new photos --out photos.npy',
      'find photos -name "*.jpg" | mixbct embed runs/new - --out photos.parquet',
      'mixbct embed runs/new --list all.jsonl --shard 3/16 --out photos.parquet',
    )
    .argument('<run>', 'folder of a finished run')
    .argument(
      '[images...]',
      'images, folders at any depth, s3:// objects and prefixes, or - for a list on standard input',
    )
    .option('--list <file>', 'list of images: a path, or {"id": "…", "path": "…"}, on each line')
    .requiredOption('--out <file>', OUT)
    .option('--shard <i/n>', SHARD, parseShard)
    .choiceOption('--flip <how>', 'none, or the mean over each image and its mirror', ['none', 'mean'], 'none')
    .shared('space')
    .option('--half', 'compute in float32, keep float16: half the disk of a .npy', false)
    .shared('precision')
    .batchSizeOption(256)
    .shared('workers', 'threads', 'device', 'skipBadImages', 'resume', 'force')
    .computes(async (run: string, paths: readonly string[], options) => {
      const [{ embedPaths }, { shardPath }] = await Promise.all([
        import('../stages/embed.ts'),
        import('../features/index.ts'),
      ]);
      const info = await embedPaths({ ...options, model: run, paths, signal: interruptible() });
      const { out, shard } = options;
      const text = `${out}: ${told(info)}`;
      return [info, shard ? `${shardPath(out, shard)}: shard ${shard.shard} of ${shard.shards}, ${told(info)}` : text];
    });

export const featuresCommand = () =>
  group('features', 'work with shards of embeddings')
    .example('mixbct features merge shards/* --out all.npy')
    .addCommand(
      command('merge', 'merge the shards of mixbct embed into one file')
        .example('mixbct features merge photos.parquet.shard-*-of-16 --out photos.parquet')
        .argument('<shards...>', 'folders of all shards, in any order; s3:// ones may have a *')
        .requiredOption('--out <file>', OUT)
        .shared('force')
        .prints(async (shards: readonly string[], options) => {
          const { mergeShards } = await import('../stages/embed.ts');
          const info = await mergeShards(shards, options.out, options);
          return [info, `${options.out}: ${told(info)}`];
        }),
    );
