import { formatCount } from '../base/progress.ts';
import { command, interruptible, missingOf } from './context.ts';

const FLIP = 'none, the mean over each image and its mirror, or random as the reference does';

export const extractCommand = () =>
  command('extract', 'embed a data set with a trained model')
    .example('mixbct extract runs/old --data data/k12/k12_32_train_part_70_class --out features/old-on-new-data')
    .argument('<run>', 'folder of a finished run')
    .shared('data')
    .requiredOption('--out <folder>', 'folder of the feature set')
    .choiceOption('--flip <how>', FLIP, ['none', 'mean', 'random'], 'none')
    .shared('space')
    .option('--half', 'store float16: half the disk', false)
    .shared('precision', 'seed')
    .batchSizeOption(256)
    .shared('workers', 'threads', 'device', 'skipBadImages', 'resume', 'force')
    .computesTogether(async (run: string, options) => {
      const { embedDataset } = await import('../stages/extract.ts');
      const info = await embedDataset({ ...options, model: run, dataset: options.data, signal: interruptible() });
      const rows = `${formatCount(info.count, 'feature')} of ${info.dim} dimensions`;
      return [info, `${options.out}: ${rows} by ${info.model!.name}${missingOf(info)}`];
    });
