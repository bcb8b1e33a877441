import { renderThresholds } from '../report/terminal.ts';
import { command } from './context.ts';

export const thresholdsCommand = () =>
  command('thresholds', 'show what the old threshold does, which threshold keeps the FAR, and calibrations')
    .example('mixbct thresholds runs/evaluation --out thresholds.json')
    .argument(
      '<evaluations...>',
      'folder of an evaluation of a labelled set, or of IJB with an old model and 1:1; or several',
    )
    .option('--out <file>', 'write thresholds and calibrations as JSON for a service (mixbct schema thresholds)')
    .shared('force')
    .prints(async (paths: readonly string[], options) => {
      const { writeThresholds } = await import('../stages/thresholds.ts');
      const { evaluations, thresholds } = writeThresholds(paths, options);
      const written = options.out === undefined ? '' : `\n\nthresholds: ${options.out}`;
      return [thresholds, `\n${renderThresholds(evaluations)}${written}`];
    });
