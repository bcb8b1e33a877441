import type { Command } from 'commander';
import { FeatureSet, importNpy, writeCredible, writePrototypes } from '../features/index.ts';
import { command, decimal, force, print } from './context.ts';

export function denoiseCommand(): Command {
  return command(
    'denoise',
    'mark the old features that lie close to their class mean',
    'mixbct denoise features/old-on-new-data --keep 0.9 --out features/credible',
  )
    .argument('<features>', 'folder of a feature set')
    .requiredOption('--out <folder>', 'folder of the mask')
    .option('--keep <share>', 'share of each class to trust', decimal, 0.9)
    .option('--no-column-normalize', 'do not divide each dimension by its length over all samples')
    .addOption(force())
    .action(async (path: string, options) => {
      using features = FeatureSet.open(path);
      const info = await writeCredible(options.out, features, options, options);
      print(options, info, `${options.out}: ${info.kept} of ${info.count} old features are credible`);
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
    .addOption(force())
    .action(async (path: string, options) => {
      using features = FeatureSet.open(path);
      const info = await writePrototypes(options.out, features, options);
      print(options, info, `${options.out}: ${info.classes} prototypes of ${info.dim} dimensions`);
    });
}

export function importFeaturesCommand(): Command {
  return command(
    'import-features',
    'take in embeddings of another system as .npy',
    'mixbct import-features features.npy --labels labels.npy --out features/old',
  )
    .argument('<features>', 'float32 [N, D], in dataset order')
    .requiredOption('--labels <file>', 'class ids [N], int32 or int64')
    .option('--families <file>', 'family ids [N], int32 or int64; -1 unknown')
    .requiredOption('--out <folder>', 'folder of the feature set')
    .addOption(force())
    .action(async (features: string, options) => {
      const info = await importNpy(
        { features, labels: options.labels, families: options.families },
        options.out,
        options,
      );
      print(options, info, `${options.out}: ${info.count} features of ${info.dim} dimensions, ${info.classes} classes`);
    });
}
