import { formatCount, formatDuration } from '../base/progress.ts';
import { command, interruptible } from './context.ts';

const RECIPE =
  'YAML file, your own or one of recipes/ (its schema: mixbct schema recipe), or a name that mixbct recipes lists';

export const trainCommand = () =>
  command('train', 'train a model by a recipe')
    .example(
      'mixbct train recipes/glyphs/old.yaml --data data/k12/k12_32_train_part_30_class --out runs/old',
      'mixbct train recipes/glyphs/mixbct.yaml --data data/k12/k12_32_train_part_70_class --out runs/new \\',
      '  --old-features features/old --old-credible features/credible --set method.ratio=0.4',
      'mixbct train OPclass_ms1mv3_r18_to_r50_MixBCT_softmax_to_arc_f128 --data ms1m/train_part_70_class --out runs/new \\',
      '  --old-features features/old --old-credible features/credible',
    )
    .argument('<recipe>', RECIPE)
    .shared('data')
    .requiredOption('--out <folder>', "the run's folder")
    .option('--old-features <features>', 'feature set of the old model on this data (mixbct extract)')
    .option('--old-credible <credible>', 'mask of credible old features (mixbct denoise)')
    .option('--old-prototypes <prototypes>', 'class means of old features (mixbct average)')
    .option('--old-boundaries <boundaries>', 'centres and radii of old features (mixbct boundaries)')
    .option('--validate-on <dataset>', "held-out images for the recipe's validation")
    .option('--validate-features <features>', 'feature set of the old model on these (mixbct extract)')
    .shared('preset')
    .repeatedOption('--set <path=value>', 'change one setting of the recipe')
    .option('--resume', 'continue from the checkpoint of an interrupted run', false)
    .wholeOption('--save-every <n>', 'steps between two checkpoints of an epoch', { least: 1 }, 1000)
    .wholeOption('--skip-non-finite <n>', 'non-finite losses or gradients to skip before stopping', { least: 0 }, 0)
    .wholeOption('--log-every <n>', 'steps between two lines of the log', { least: 1 }, 20)
    .shared('workers', 'threads', 'skipBadImages', 'device')
    .option('--no-overlap', 'several processes: send gradients after backward, not during it')
    .shared('force')
    .computesTogether(async (path: string, { set, preset, data: dataset, ...options }) => {
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
      const recipe = loadRecipe(path, { settings: set, preset });
      const validate = { on: options.validateOn, features: options.validateFeatures };
      const run = await trainModel({
        ...options,
        recipe,
        dataset,
        old,
        validate,
        inputs: [path],
        signal: interruptible(),
      });
      const took = `${formatCount(run.steps, 'step')}, ${formatDuration(run.seconds * 1000)}`;
      const waiting = `waiting for data ${(100 * run.dataWaitShare).toFixed(1)} % of the time`;
      return [run, `${options.out}: ${run.name} trained in ${took}, ${waiting}`];
    });
