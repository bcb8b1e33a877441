import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { formatDuration, logLine } from '../base/progress.ts';
import { renderTerminal } from '../report/terminal.ts';
import { quickstartFile, quickstartFolder, quickstartReport, quickstartSettings } from '../stages/quickstart.ts';
import type { RunExperimentOptions } from '../stages/run-experiment.ts';
import { command, interruptible, print, useThreads } from './context.ts';

type RunCommandOptions = Omit<RunExperimentOptions, 'dataFolder' | 'settings'> & {
  readonly folder: string;
  readonly set: readonly string[];
  readonly threads: number;
  readonly dryRun?: boolean;
  readonly json: boolean;
};

export const runCommand = () =>
  command('run', 'run the stages of an experiment; finished stages are skipped, interrupted ones continue')
    .example('mixbct run experiments/quickstart.yaml --out runs/mine --set seed=2')
    .argument('<experiment>', 'YAML file, your own or one of experiments/; its schema: mixbct schema experiment')
    .requiredOption('--out <folder>', 'folder of the experiment')
    .repeatedOption('--set <path=value>', 'change a setting (stages.new.recipe.epochs=8, say)')
    .option('--dry-run', 'say which stages would run and why, and run none', false)
    .repeatedOption('--only <stage>', 'run no more than what this stage needs')
    .shared('folder', 'workers', 'threads', 'force')
    .action(run);

const SMALLEST_CLOSING =
  'This was the smallest quick start, one epoch for each model: it shows that every stage works and proves nothing about models.\nThe whole one takes minutes: mixbct quickstart';

export const quickstartCommand = () =>
  command('quickstart', 'train and evaluate an upgrade on real data, in minutes')
    .example('mixbct quickstart', 'mixbct quickstart --seed 2')
    .seedOption(1)
    .option('--smallest', 'one epoch for each model: checks that everything works, in a minute or two', false)
    .option(
      '--out <folder>',
      'folder of the experiment (default: runs/quickstart-SEED, or runs/quickstart-smallest-SEED)',
    )
    .shared('folder', 'workers', 'threads', 'force')
    .action(async (options) => {
      const { out = quickstartFolder(options) } = options;
      await run(quickstartFile, { ...options, set: quickstartSettings(options), out });
      if (options.smallest) logLine(SMALLEST_CLOSING);
      logLine(`open in a browser, for curves and pictures of what changes: ${relative('', quickstartReport(out))}`);
    });

async function run(file: string, options: RunCommandOptions): Promise<void> {
  const [{ planExperiment, runExperiment }, { formatPlan }] = await Promise.all([
    import('../stages/run-experiment.ts'),
    import('../experiment/plan.ts'),
  ]);
  const shared = { ...options, dataFolder: options.folder, settings: options.set };
  if (options.dryRun) {
    const plan = await planExperiment(file, shared);
    return print(options, plan, formatPlan(plan));
  }
  await useThreads(options.threads);
  const start = performance.now();
  const { places, evaluations } = await runExperiment(file, { ...shared, signal: interruptible() });
  const pages = Object.keys(evaluations)
    .map((id) => relative('', join(places[id]!, 'report.html')))
    .filter((page) => existsSync(page));
  const judged = Object.values(evaluations);
  const text = [...judged.map(renderTerminal), ...pages.map((page) => `report: ${page}`)].join('\n');
  print(options, { places, evaluations: judged }, text);
  logLine(`done in ${formatDuration(performance.now() - start)}; everything it made is in ${options.out}`);
}
