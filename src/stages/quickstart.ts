import { join } from 'node:path';
import { packageRoot } from '../base/version.ts';

/** The experiment of the quick start. */
export const quickstartFile = join(packageRoot, 'experiments/quickstart.yaml');

/** The smallest setting of the quick start shows that every stage works; its models are no good. */
export const smallestSettings = ['old', 'oracle', 'l2', 'mixbct', 'pairs-joint-nccl']
  .map((stage) => `stages.${stage}.recipe.epochs=1`)
  .concat('stages.judge.resamples=100', 'stages.judge.impostors=200000', 'stages.judge.trial=true');

type QuickstartOptions = { readonly seed: number; readonly smallest: boolean };

/** What differs from the experiment's file. */
export const quickstartSettings = ({ seed, smallest }: QuickstartOptions): string[] => [
  `seed=${seed}`,
  ...(smallest ? smallestSettings : []),
];

/** Where the quick start is kept if nobody says. */
export const quickstartFolder = ({ seed, smallest }: QuickstartOptions): string =>
  join('runs', `quickstart-${smallest ? 'smallest-' : ''}${seed}`);

/** The page that says what it has found. */
export const quickstartReport = (folder: string): string => join(folder, 'judge/report.html');
