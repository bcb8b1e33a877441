import { formatCount } from '../base/progress.ts';
import { command, missingOf } from './context.ts';

/** A command that derives something from the features of the old model. */
const derivedCommand = (name: string, summary: string, what: string) =>
  command(name, summary)
    .argument('<features>', 'folder of a feature set')
    .requiredOption('--out <folder>', `folder of the ${what}`)
    .shared('threads', 'force');

const SHARE = { above: 0, most: 1, called: 'a share' };
const RULE = 'distance to the class mean, or entropy over the class means';

export const denoiseCommand = () =>
  derivedCommand('denoise', 'mark the old features that lie close to their class mean', 'mask')
    .example('mixbct denoise features/old-on-new-data --keep 0.9 --out features/credible')
    .numberOption('--keep <share>', 'share of each class to trust', SHARE, 0.9)
    .choiceOption('--rule <rule>', RULE, ['distance', 'entropy'], 'distance')
    .option('--no-column-normalize', 'do not divide each dimension by its length over all samples')
    .computes(async (features: string, options) => {
      const { markCredible } = await import('../stages/denoise.ts');
      const info = await markCredible({ ...options, features });
      const lost = info.missing > 0 ? `, ${info.missing} are missing` : '';
      return [info, `${options.out}: ${info.kept} of ${info.count} old features are credible${lost}`];
    });

export const averageCommand = () =>
  derivedCommand('average', 'average old features into one prototype for each class', 'prototypes')
    .example('mixbct average features/old-on-new-data --out features/prototypes')
    .computes(async (features: string, options) => {
      const { averageFeatures } = await import('../stages/average.ts');
      const info = await averageFeatures({ ...options, features });
      return [info, `${options.out}: ${info.classes} prototypes of ${info.dim} dimensions`];
    });

export const boundariesCommand = () =>
  derivedCommand('boundaries', 'measure how far the old features of each class lie from their centre', 'boundaries')
    .example('mixbct boundaries features/old-on-new-data --out features/boundaries')
    .computes(async (features: string, options) => {
      const { measureBoundaries } = await import('../stages/boundaries.ts');
      const info = await measureBoundaries({ ...options, features });
      return [info, `${options.out}: boundaries of ${formatCount(info.classes, 'class', 'classes')}`];
    });

export const importFeaturesCommand = () =>
  command('import-features', 'import embeddings of another system (.npy, .parquet)')
    .example(
      'mixbct import-features features.npy --labels labels.npy --out features/old',
      'mixbct import-features features.npy --ids names.txt --data data/photos/train --out features/old',
      'mixbct import-features rows.parquet --id name --vector embedding --label person --out features/old',
    )
    .argument('<file>', 'a .npy of float16, float32 or float64 [N, D], or a .parquet')
    .option('--labels <file>', '.npy: class ids [N], whole numbers of any type; not needed with --data and --ids')
    .option('--data <dataset>', 'the dataset that the rows are embeddings of: in its order, unless --ids are given')
    .option('--ids <file>', '.npy: id of the image of each row: one id a line, in a .jsonl one JSON string a line')
    .option('--allow-missing', 'mark images of the dataset that no id names as missing, instead of stopping', false)
    .option('--vector <column>', 'Parquet: column of the embeddings, lists of numbers (default: embedding)')
    .option('--id <column>', 'Parquet: column of what the images are called, text or whole numbers')
    .option('--label <column>', 'Parquet: column of the classes, whole numbers or text')
    .option('--families <file>', '.npy: family ids [N], whole numbers of any type; -1 unknown (default: of --data)')
    .requiredOption('--out <folder>', 'folder of the feature set')
    .shared('force')
    .prints(async (features: string, options) => {
      const { importFeatures } = await import('../features/import-features.ts');
      const info = await importFeatures({ ...options, features, dataset: options.data }, options.out, options);
      const [rows, classes] = [formatCount(info.count, 'feature'), formatCount(info.classes, 'class', 'classes')];
      return [info, `${options.out}: ${rows} of ${info.dim} dimensions, ${classes}${missingOf(info)}`];
    });
