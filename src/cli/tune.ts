import { tuneMetrics } from '../tune/score.ts';
import { command, interruptible } from './context.ts';
import { mostThreads } from './options.ts';

const METHOD = 'method to tune, or several composed (pairs+joint), instead of those of the experiment';
const STAGE = 'stage whose recipe the trials share (default: the first that trains with an old model)';
const AT_ONCE = 'trials that are trained at a time; several are a process each, which share the threads';
const METRIC = 'what is chosen by: gain is the harmonic mean of two update gains, minus tax';

export const tuneCommand = () =>
  command('tune', 'search for options of the methods of an experiment, on validation classes')
    .example(
      'mixbct tune experiments/quickstart.yaml --out runs/quickstart-1',
      'mixbct tune experiments/quickstart.yaml --method advbct --method unibct --out runs/quickstart-1',
    )
    .argument('<experiment>', 'YAML file, your own or one of experiments/')
    .requiredOption('--out <folder>', 'folder of the experiment: finished stages are taken, finished trials kept')
    .repeatedOption('--method <name>', METHOD)
    .option('--stage <id>', STAGE)
    .wholeOption('--trials <n>', 'settings that each method tries', { least: 2, most: 1000 }, 6)
    .wholeOption('--validation <n>', 'classes that no trial is trained on', { least: 2, most: 1_000_000 }, 200)
    .wholeOption('--at-once <n>', AT_ONCE, { least: 1, most: mostThreads() }, 1)
    .choiceOption('--metric <name>', METRIC, tuneMetrics, 'gain')
    .repeatedOption('--set <path=value>', 'change a setting (stages.new.recipe.epochs=8, say)')
    .shared('folder', 'workers', 'threads', 'force')
    .computes(async (file: string, { folder, set, method, ...options }) => {
      const [{ tuneExperiment, tuningFolder }, { renderTuning }] = await Promise.all([
        import('../tune/tune-experiment.ts'),
        import('../tune/tuning-report.ts'),
      ]);
      const given = { ...options, dataFolder: folder, settings: set, methods: method, signal: interruptible() };
      const tuning = await tuneExperiment(file, given);
      return [tuning, `${renderTuning(tuning)}\nrecipes and picture: ${tuningFolder(options.out)}`];
    });
