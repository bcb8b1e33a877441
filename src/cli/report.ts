import type { Command } from 'commander';
import { renderSummary, renderTerminal } from '../report/terminal.ts';
import { command, print } from './context.ts';

export function reportCommand(): Command {
  return command(
    'report',
    'show an evaluation again',
    'mixbct report runs/evaluation\nmixbct report runs/seed-1/judge runs/seed-2/judge --html report.html --figures figures',
  )
    .argument('<evaluations...>', 'folder of an evaluation; several, such as those of other seeds, share one table')
    .option('--html <file>', 'write it as one HTML file')
    .option('--markdown <file>', 'write it as Markdown')
    .option('--figures <folder>', 'write roc, det, tpir and cmc as SVG and PNG files, all evaluations in each')
    .shared('force')
    .action(async (paths: readonly string[], options) => {
      const { reportEvaluations } = await import('../stages/reports.ts');
      const evaluations = await reportEvaluations(paths, options);
      if (evaluations.length === 1) print(options, evaluations[0], renderTerminal(evaluations[0]!));
      else print(options, evaluations, renderSummary(evaluations));
    });
}
