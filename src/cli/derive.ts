import { type Command, Option } from 'commander';
import { UserError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import { command, missingOf, print, useThreads } from './context.ts';
import { numberOption, type SharedCommand } from './options.ts';

/** A command that derives something from the features of the old model. */
const derivedCommand = (name: string, summary: string, what: string, example: string): SharedCommand =>
  command(name, summary, `mixbct ${name} features/old-on-new-data ${example}`)
    .argument('<features>', 'folder of a feature set')
    .requiredOption('--out <folder>', `folder of the ${what}`)
    .shared('threads', 'force');

export function denoiseCommand(): Command {
  const summary = 'mark the old features that lie close to their class mean';
  return derivedCommand('denoise', summary, 'mask', '--keep 0.9 --out features/credible')
    .addOption(
      numberOption('--keep <share>', 'share of each class to trust', { above: 0, most: 1, called: 'a share' }, 0.9),
    )
    .addOption(
      new Option('--rule <rule>', 'distance to the class mean, or entropy over the class means')
        .choices(['distance', 'entropy'])
        .default('distance'),
    )
    .option('--no-column-normalize', 'do not divide each dimension by its length over all samples')
    .action(async (features: string, options) => {
      const { markCredible } = await import('../stages/denoise.ts');
      await useThreads(options.threads);
      const info = await markCredible({ ...options, features });
      const lost = info.missing > 0 ? `, ${info.missing} are missing` : '';
      print(options, info, `${options.out}: ${info.kept} of ${info.count} old features are credible${lost}`);
    });
}

export function averageCommand(): Command {
  const summary = 'average old features into one prototype for each class';
  return derivedCommand('average', summary, 'prototypes', '--out features/prototypes').action(
    async (features: string, options) => {
      const { averageFeatures } = await import('../stages/average.ts');
      await useThreads(options.threads);
      const info = await averageFeatures({ ...options, features });
      print(options, info, `${options.out}: ${info.classes} prototypes of ${info.dim} dimensions`);
    },
  );
}

export function boundariesCommand(): Command {
  const summary = 'measure how far the old features of each class lie from their centre';
  return derivedCommand('boundaries', summary, 'boundaries', '--out features/boundaries').action(
    async (features: string, options) => {
      const { measureBoundaries } = await import('../stages/boundaries.ts');
      await useThreads(options.threads);
      const info = await measureBoundaries({ ...options, features });
      print(options, info, `${options.out}: boundaries of ${formatCount(info.classes, 'class', 'classes')}`);
    },
  );
}

export function importFeaturesCommand(): Command {
  return command(
    'import-features',
    'import embeddings of another system (.npy, .parquet)',
    'mixbct import-features features.npy --labels labels.npy --out features/old\n' +
      'mixbct import-features features.npy --ids names.txt --data data/photos/train --out features/old\n' +
      'mixbct import-features rows.parquet --id name --vector embedding --label person --out features/old',
  )
    .argument('<features>', 'a .npy of float16, float32 or float64 [N, D], or a .parquet')
    .option('--labels <file>', 'class ids [N], whole numbers of any type; not needed with --data and --ids')
    .option('--data <dataset>', 'the dataset that the rows are embeddings of: in its order, unless --ids are given')
    .option('--ids <file>', 'id of the image of each row: one id a line, in a .jsonl one JSON string a line')
    .option('--allow-missing', 'mark images of the dataset that no id names as missing, instead of stopping', false)
    .option('--vector <column>', 'Parquet: column of the embeddings, lists of numbers (default: embedding)')
    .option('--id <column>', 'Parquet: column of what the images are called, text or whole numbers')
    .option('--label <column>', 'Parquet: column of the classes, whole numbers or text')
    .option('--families <file>', 'family ids [N], whole numbers of any type; -1 unknown')
    .requiredOption('--out <folder>', 'folder of the feature set')
    .shared('force')
    .action(async (features: string, options) => {
      const { importNpy, importParquet } = await import('../features/index.ts');
      const { data: dataset, labels, families, ids, vector, id, label } = options;
      const isParquet = features.endsWith('.parquet');
      requireNone(isParquet ? { labels, families, ids } : { vector, id, label }, isParquet ? '.npy' : '.parquet');
      const info = isParquet
        ? await importParquet({ features, dataset, vector, id, label }, options.out, options)
        : await importNpy({ features, dataset, labels, families, ids }, options.out, options);
      print(
        options,
        info,
        `${options.out}: ${formatCount(info.count, 'feature')} of ${info.dim} dimensions, ${formatCount(info.classes, 'class', 'classes')}${missingOf(info)}`,
      );
    });
}

/** @throws UserError naming an option that only another kind of file has. */
function requireNone(options: Readonly<Record<string, string | undefined>>, kind: string): void {
  const given = Object.keys(options).find((name) => options[name] !== undefined);
  if (given) throw new UserError(`--${given} belongs to a ${kind} file, and this is none`);
}
