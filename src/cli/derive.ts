import { type Command, Option } from 'commander';
import { formatCount } from '../base/progress.ts';
import { command, forceOption, missingOf, print, threadsOption, useThreads } from './context.ts';
import { numberOption } from './numbers.ts';

export function denoiseCommand(): Command {
  return command(
    'denoise',
    'mark the old features that lie close to their class mean',
    'mixbct denoise features/old-on-new-data --keep 0.9 --out features/credible',
  )
    .argument('<features>', 'folder of a feature set')
    .requiredOption('--out <folder>', 'folder of the mask')
    .addOption(
      numberOption('--keep <share>', 'share of each class to trust', { above: 0, most: 1, called: 'a share' }, 0.9),
    )
    .addOption(
      new Option('--rule <rule>', 'distance to the class mean, or entropy over the class means')
        .choices(['distance', 'entropy'])
        .default('distance'),
    )
    .option('--no-column-normalize', 'do not divide each dimension by its length over all samples')
    .addOption(threadsOption())
    .addOption(forceOption())
    .action(async (path: string, options) => {
      const { markCredible } = await import('../stages/denoise.ts');
      await useThreads(options.threads);
      const info = await markCredible({ ...options, features: path });
      print(
        options,
        info,
        `${options.out}: ${info.kept} of ${info.count} old features are credible${info.missing > 0 ? `, ${info.missing} are missing` : ''}`,
      );
    });
}

export function averageCommand(): Command {
  return command(
    'average',
    'average old features into one prototype for each class',
    'mixbct average features/old-on-new-data --out features/prototypes',
  )
    .argument('<features>', 'folder of a feature set')
    .requiredOption('--out <folder>', 'folder of the prototypes')
    .addOption(threadsOption())
    .addOption(forceOption())
    .action(async (path: string, options) => {
      const { averageFeatures } = await import('../stages/average.ts');
      await useThreads(options.threads);
      const info = await averageFeatures({ ...options, features: path });
      print(options, info, `${options.out}: ${info.classes} prototypes of ${info.dim} dimensions`);
    });
}

export function boundariesCommand(): Command {
  return command(
    'boundaries',
    'measure how far the old features of each class lie from their centre',
    'mixbct boundaries features/old-on-new-data --out features/boundaries',
  )
    .argument('<features>', 'folder of a feature set')
    .requiredOption('--out <folder>', 'folder of the boundaries')
    .addOption(threadsOption())
    .addOption(forceOption())
    .action(async (path: string, options) => {
      const { measureBoundaries } = await import('../stages/boundaries.ts');
      await useThreads(options.threads);
      const info = await measureBoundaries({ ...options, features: path });
      print(options, info, `${options.out}: boundaries of ${formatCount(info.classes, 'class', 'classes')}`);
    });
}

export function importFeaturesCommand(): Command {
  return command(
    'import-features',
    'take in embeddings of another system as .npy',
    'mixbct import-features features.npy --labels labels.npy --out features/old\n' +
      'mixbct import-features features.npy --ids names.txt --data data/photos/train --out features/old',
  )
    .argument('<features>', 'float16, float32 or float64 [N, D]')
    .option('--labels <file>', 'class ids [N], whole numbers of any type; not needed with --data and --ids')
    .option('--data <dataset>', 'the dataset that the rows are embeddings of: in its order, unless --ids are given')
    .option('--ids <file>', 'what the image of each row is called: one id a line, in a .jsonl one JSON string a line')
    .option('--allow-missing', 'mark images of the dataset that no id names as missing, instead of stopping', false)
    .option('--families <file>', 'family ids [N], whole numbers of any type; -1 unknown')
    .requiredOption('--out <folder>', 'folder of the feature set')
    .addOption(forceOption())
    .action(async (features: string, options) => {
      const { importNpy } = await import('../features/index.ts');
      const info = await importNpy(
        { features, dataset: options.data, labels: options.labels, families: options.families, ids: options.ids },
        options.out,
        options,
      );
      print(
        options,
        info,
        `${options.out}: ${formatCount(info.count, 'feature')} of ${info.dim} dimensions, ${formatCount(info.classes, 'class', 'classes')}${missingOf(info)}`,
      );
    });
}
