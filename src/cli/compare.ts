import type { Command } from 'commander';
import { textTable } from '../report/terminal.ts';
import { command, print } from './context.ts';

export function compareCommand(): Command {
  return command(
    'compare',
    'show how two runs, or two evaluations, differ: recipe, data, code, results',
    'mixbct compare runs/mixbct runs/bct\nmixbct compare runs/quickstart-1/judge runs/quickstart-2/judge',
  )
    .argument('<a>', 'folder of a finished run, or of an evaluation')
    .argument('<b>', 'another of the same kind')
    .action(async (a: string, b: string, options) => {
      const { compareArtifacts } = await import('../info/compare.ts');
      const differences = await compareArtifacts(a, b);
      const rows = differences.map((one) => [one.what, shown(one.a), shown(one.b)]);
      print(options, differences, rows.length === 0 ? `${a} and ${b} do not differ` : textTable(['', a, b], rows));
    });
}

const shown = (value: unknown): string =>
  value === null ? '–' : typeof value === 'number' && !Number.isInteger(value) ? value.toPrecision(5) : String(value);
