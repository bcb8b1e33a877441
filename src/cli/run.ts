import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Command } from 'commander';
import { duration, logLine } from '../base/progress.ts';
import { packageRoot } from '../base/version.ts';
import { renderTerminal } from '../report/terminal.ts';
import {
  command,
  forceOption,
  interruptible,
  print,
  seedOption,
  several,
  threadsOption,
  workersOption,
} from './context.ts';
import { dataFolder } from './data.ts';

type RunOptions = {
  readonly out: string;
  readonly folder: string;
  readonly set: readonly string[];
  readonly only?: readonly string[];
  readonly force: boolean;
  readonly workers: number;
  readonly threads: number;
  readonly json: boolean;
  /** Said after the results. */
  readonly closing?: string;
};

export function runCommand(): Command {
  return command(
    'run',
    'run the stages of an experiment; what is done is skipped, what was interrupted goes on',
    'mixbct run experiments/quickstart.yaml --out runs/mine --set seed=2',
  )
    .argument('<experiment>', 'YAML file, your own or one of experiments/; its schema: mixbct schema experiment')
    .requiredOption('--out <folder>', 'folder of the experiment')
    .option(
      '--set <path=value>',
      'change one setting, for example stages.new.recipe.epochs=8; may be repeated',
      several,
      [],
    )
    .option('--only <stage>', 'run no more than what this stage needs; may be repeated', several, [])
    .addOption(dataFolder())
    .addOption(workersOption())
    .addOption(threadsOption())
    .addOption(forceOption())
    .action(runExperiment);
}

/** The smallest setting of the quick start shows that every stage works; its models are no good. */
export const smallestSettings = ['old', 'oracle', 'l2', 'mixbct']
  .map((stage) => `stages.${stage}.recipe.epochs=1`)
  .concat('stages.judge.resamples=100', 'stages.judge.impostors=200000', 'stages.judge.trial=true');

const SMALLEST_CLOSING =
  'This was the smallest quick start, one epoch for each model: it shows that every stage works and proves nothing about models.\nThe whole one takes minutes: mixbct quickstart';

export function quickstartCommand(): Command {
  return command(
    'quickstart',
    'from nothing to a judged upgrade, on real data, in minutes',
    'mixbct quickstart\nmixbct quickstart --seed 2',
  )
    .addOption(seedOption(1))
    .option('--smallest', 'one epoch for each model: checks that everything works, in a minute or two', false)
    .option('--out <folder>', 'folder of the experiment (default: runs/quickstart-SEED)')
    .addOption(dataFolder())
    .addOption(workersOption())
    .addOption(threadsOption())
    .addOption(forceOption())
    .action(async (options) => {
      const name = `quickstart-${options.smallest ? 'smallest-' : ''}${options.seed}`;
      const set = [`seed=${options.seed}`, ...(options.smallest ? smallestSettings : [])];
      await runExperiment(join(packageRoot, 'experiments/quickstart.yaml'), {
        ...options,
        set,
        out: options.out ?? join('runs', name),
        ...(options.smallest && { closing: SMALLEST_CLOSING }),
      });
    });
}

async function runExperiment(file: string, options: RunOptions): Promise<void> {
  const [{ loadExperiment }, { useThreads }, { runStages }, { readEvaluation }] = await Promise.all([
    import('./experiment.ts'),
    import('./processes.ts'),
    import('./stages.ts'),
    import('../eval/evaluation-artifact.ts'),
  ]);
  const experiment = loadExperiment(file, options.set);
  useThreads(options.threads);
  const start = performance.now();
  const places = await runStages(experiment, { ...options, dataFolder: options.folder, signal: interruptible() });
  const judged = Object.entries(experiment.stages)
    .filter(([id, stage]) => stage.do === 'evaluate' && places.has(id))
    .map(([id]) => places.get(id)!);
  const evaluations = judged.map((folder) => readEvaluation(folder));
  const pages = judged.map((folder) => relative('', join(folder, 'report.html'))).filter((page) => existsSync(page));
  print(
    options,
    { places: Object.fromEntries(places), evaluations },
    [...evaluations.map(renderTerminal), ...pages.map((page) => `report: ${page}`)].join('\n'),
  );
  logLine(`done in ${duration(performance.now() - start)}; everything it made is in ${options.out}`);
  if (options.closing !== undefined) logLine(options.closing);
}
