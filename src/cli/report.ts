import { renderSummary, renderTerminal } from '../report/terminal.ts';
import { command } from './context.ts';

export const reportCommand = () =>
  command('report', 'show an evaluation again')
    .example(
      'mixbct report runs/evaluation',
      'mixbct report runs/seed-1/judge runs/seed-2/judge --html report.html --figures figures',
    )
    .argument('<evaluations...>', 'folder of an evaluation; several, such as those of other seeds, share one table')
    .option('--html <file>', 'write it as one HTML file')
    .option('--markdown <file>', 'write it as Markdown')
    .option('--figures <folder>', 'write roc, det, tpir and cmc as SVG and PNG files, all evaluations in each')
    .shared('pictures', 'force')
    .prints(async (paths: readonly string[], options) => {
      const { reportEvaluations } = await import('../stages/reports.ts');
      const runs = await reportEvaluations(paths, options);
      const [first, ...others] = runs.map(({ evaluation }) => evaluation);
      return others.length === 0 ? [first, renderTerminal(first!)] : [[first, ...others], renderSummary(runs)];
    });
