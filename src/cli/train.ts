import type { Command } from 'commander';
import { formatCount, formatDuration } from '../base/progress.ts';
import { asLaunched, command, interruptible, print } from './context.ts';
import { appendValue, wholeOption } from './options.ts';

export function trainCommand(): Command {
  return command(
    'train',
    'train a model by a recipe',
    'mixbct train recipes/glyphs/old.yaml --data data/k12/k12_32_train_part_30_class --out runs/old\n' +
      'mixbct train recipes/glyphs/mixbct.yaml --data data/k12/k12_32_train_part_70_class --out runs/new \\\n' +
      '  --old-features features/old --old-credible features/credible --set method.ratio=0.4\n' +
      'mixbct train OPclass_ms1mv3_r18_to_r50_MixBCT_softmax_to_arc_f128 --data ms1m/train_part_70_class --out runs/new \\\n' +
      '  --old-features features/old --old-credible features/credible',
  )
    .argument(
      '<recipe>',
      'YAML file, your own or one of recipes/ (its schema: mixbct schema recipe), or a name that mixbct recipes lists',
    )
    .requiredOption('--data <dataset>', 'folder, or prefix of a .rec and .idx')
    .requiredOption('--out <folder>', "the run's folder")
    .option('--old-features <folder>', 'feature set of the old model on this data (mixbct extract)')
    .option('--old-credible <folder>', 'mask of credible old features (mixbct denoise)')
    .option('--old-prototypes <folder>', 'class means of old features (mixbct average)')
    .option('--old-boundaries <folder>', 'centres and radii of old features (mixbct boundaries)')
    .shared('preset')
    .option('--set <path=value>', 'change one setting of the recipe; may be repeated', appendValue, [])
    .option('--resume', 'continue from the checkpoint of an interrupted run', false)
    .addOption(wholeOption('--save-every <n>', 'steps between two checkpoints of an epoch', { least: 1 }, 1000))
    .addOption(
      wholeOption('--skip-non-finite <n>', 'non-finite losses or gradients to skip before stopping', { least: 0 }, 0),
    )
    .addOption(wholeOption('--log-every <n>', 'steps between two lines of the log', { least: 1 }, 20))
    .shared('workers', 'threads', 'skipBadImages', 'device')
    .option('--no-overlap', 'several processes: send gradients after backward, not during it')
    .shared('force')
    .action(async (path: string, options) => {
      const [{ loadRecipe }, { trainModel }] = await Promise.all([
        import('../runs/load-recipe.ts'),
        import('../stages/train.ts'),
      ]);
      const old = {
        features: options.oldFeatures,
        credible: options.oldCredible,
        prototypes: options.oldPrototypes,
        boundaries: options.oldBoundaries,
      };
      const manifest = await asLaunched(options, (distributed) => {
        const recipe = loadRecipe(path, { settings: options.set, preset: options.preset });
        const shared = { recipe, dataset: options.data, old, inputs: [path], signal: interruptible(), distributed };
        return trainModel({ ...options, ...shared });
      });
      if (manifest)
        print(
          options,
          manifest,
          `${options.out}: ${manifest.name} trained in ${formatCount(manifest.steps, 'step')}, ${formatDuration(manifest.seconds * 1000)}, waiting for data ${(100 * manifest.dataWaitShare).toFixed(1)} % of the time`,
        );
    });
}
