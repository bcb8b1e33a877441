import { type Command, Option } from 'commander';
import { formatCount } from '../base/progress.ts';
import { precisions } from '../models/precisions.ts';
import { asLaunched, command, interruptible, missingOf, print } from './context.ts';
import { batchSizeOption } from './options.ts';

export function extractCommand(): Command {
  return command(
    'extract',
    'embed a data set with a trained model',
    'mixbct extract runs/old --data data/k12/k12_32_train_part_70_class --out features/old-on-new-data',
  )
    .argument('<run>', 'folder of a finished run')
    .requiredOption('--data <dataset>', 'folder, or prefix of a .rec and .idx')
    .requiredOption('--out <folder>', 'folder of the feature set')
    .addOption(
      new Option('--flip <how>', 'none, the mean over each image and its mirror, or random as the reference does')
        .choices(['none', 'mean', 'random'])
        .default('none'),
    )
    .shared('space')
    .option('--half', 'store float16: half the disk', false)
    .addOption(
      new Option('--precision <which>', 'what the backbone computes in').choices(precisions).default('float32'),
    )
    .shared('seed')
    .addOption(batchSizeOption(256))
    .shared('workers', 'threads', 'device', 'skipBadImages', 'resume', 'force')
    .action(async (run: string, options) => {
      const { embedDataset } = await import('../stages/extract.ts');
      const info = await asLaunched(options, (distributed) =>
        embedDataset({ ...options, model: run, dataset: options.data, signal: interruptible(), distributed }),
      );
      if (info)
        print(
          options,
          info,
          `${options.out}: ${formatCount(info.count, 'feature')} of ${info.dim} dimensions by ${info.model!.name}${missingOf(info)}`,
        );
    });
}
