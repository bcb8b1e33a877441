import { type Command, Option } from 'commander';
import { extractFeatures, extractTogether } from '../features/index.ts';
import { checkPrecision, precisions } from '../train/precision.ts';
import { embedderOf, loadModel } from '../train/run.ts';
import {
  command,
  device,
  force,
  joinOthers,
  print,
  seed,
  skipBad,
  threads,
  togetherOf,
  useThreads,
  wholeNumber,
  workers,
} from './context.ts';
import { openInputDataset } from './input-dataset.ts';

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
    .addOption(
      new Option('--space <which>', 'own, or old: through the projection of the recipe')
        .choices(['own', 'old'])
        .default('own'),
    )
    .option('--half', 'store float16: half the disk', false)
    .addOption(
      new Option('--precision <which>', 'what the backbone computes in').choices(precisions).default('float32'),
    )
    .addOption(seed())
    .option('--batch-size <n>', 'images at a time', wholeNumber, 256)
    .addOption(workers())
    .addOption(threads())
    .addOption(device())
    .addOption(skipBad())
    .addOption(force())
    .action(async (run: string, options) => {
      useThreads(options.threads);
      const joined = joinOthers(options.device);
      checkPrecision(options.precision);
      using dataset = openInputDataset(options.data, { report: !joined || joined.place.rank === 0 });
      const model = loadModel(run);
      const replacing = { ...options, inputs: [run] };
      try {
        const embedder = embedderOf(model, options.space, { precision: options.precision });
        const info = joined
          ? await extractTogether(dataset, embedder, replacing, togetherOf(joined))
          : await extractFeatures(dataset, embedder, replacing);
        joined?.leave();
        if (joined && joined.place.rank > 0) return;
        print(options, info, `${options.out}: ${info.count} features of ${info.dim} dimensions by ${info.model!.name}`);
      } finally {
        model.dispose();
      }
    });
}
