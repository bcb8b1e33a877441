import { type Command, Option } from 'commander';
import { UserError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import type { Shard } from '../features/index.ts';
import { precisions } from '../models/precisions.ts';
import { command, group, interruptible, print, useThreads } from './context.ts';
import { batchSizeOption } from './options.ts';

export function embedCommand(): Command {
  return command(
    'embed',
    'embed images without labels with a trained model',
    'mixbct embed runs/new photos --out photos.npy\n' +
      'find photos -name "*.jpg" | mixbct embed runs/new - --out photos.parquet\n' +
      'mixbct embed runs/new --list all.jsonl --shard 3/16 --out photos.parquet',
  )
    .argument('<run>', 'folder of a finished run')
    .argument('[paths...]', 'images, folders of images at any depth, or - for a list on standard input')
    .option('--list <file>', 'list of images: a path, or {"id": "…", "path": "…"}, on each line')
    .requiredOption('--out <file>', 'file to write: .npy (ids and a description beside it), .jsonl or .parquet')
    .addOption(
      new Option(
        '--shard <i/n>',
        'embed only part i of n, into a folder beside the output; merge them afterwards',
      ).argParser(parseShard),
    )
    .addOption(
      new Option('--flip <how>', 'none, or the mean over each image and its mirror')
        .choices(['none', 'mean'])
        .default('none'),
    )
    .shared('space')
    .option('--half', 'compute in float32, keep float16: half the disk of a .npy', false)
    .addOption(
      new Option('--precision <which>', 'what the backbone computes in').choices(precisions).default('float32'),
    )
    .addOption(batchSizeOption(256))
    .shared('workers', 'threads', 'device', 'skipBadImages', 'resume', 'force')
    .action(async (run: string, paths: readonly string[], options) => {
      const [{ embedPaths }, { setDefaultDevice }, { shardPath }] = await Promise.all([
        import('../stages/embed.ts'),
        import('../torch/index.ts'),
        import('../features/index.ts'),
      ]);
      await useThreads(options.threads);
      setDefaultDevice(options.device);
      const info = await embedPaths({ ...options, model: run, paths, signal: interruptible() });
      const what = `${formatCount(info.count, 'embedding')} of ${info.dim} dimensions by ${info.model.name}`;
      const shard = options.shard as Shard | undefined;
      print(
        options,
        info,
        shard
          ? `${shardPath(options.out, shard)}: shard ${shard.shard} of ${shard.shards}, ${what}`
          : `${options.out}: ${what}`,
      );
    });
}

/** @throws UserError unless the text is `i/n` with i from 1 to n. */
function parseShard(text: string): Shard {
  const [, shard, shards] = (/^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []).map(Number);
  if (shard && shards && shard <= shards) return { shard, shards };
  throw new UserError(`--shard ${text.slice(0, 40)}: wanted i/n, where i counts from 1 to n`, { hint: '--shard 1/16' });
}

export function featuresCommand(): Command {
  const merge = command(
    'merge',
    'merge the shards of mixbct embed into one file',
    'mixbct features merge photos.parquet.shard-*-of-16 --out photos.parquet',
  )
    .argument('<shards...>', 'folders of all shards, in any order')
    .requiredOption('--out <file>', 'file to write: .npy (ids and a description beside it), .jsonl or .parquet')
    .shared('force')
    .action(async (shards: readonly string[], options) => {
      const { mergeShards } = await import('../features/index.ts');
      const info = mergeShards(shards, options.out, options);
      print(
        options,
        info,
        `${options.out}: ${formatCount(info.count, 'embedding')} of ${info.dim} dimensions by ${info.model.name}`,
      );
    });
  return group('features', 'work with shards of embeddings', 'mixbct features merge shards/* --out all.npy').addCommand(
    merge,
  );
}
