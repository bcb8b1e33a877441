import { textTable } from '../report/terminal.ts';
import { command } from './context.ts';

export const compareCommand = () =>
  command('compare', 'show how two runs, or two evaluations, differ: recipe, data, code, results')
    .example('mixbct compare runs/mixbct runs/bct', 'mixbct compare runs/quickstart-1/judge runs/quickstart-2/judge')
    .argument('<a>', 'folder of a finished run, or of an evaluation')
    .argument('<b>', 'another of the same kind')
    .prints(async (a: string, b: string) => {
      const { compareArtifacts } = await import('../info/compare.ts');
      const differences = await compareArtifacts(a, b);
      const rows = differences.map((one) => [one.what, shown(one.a), shown(one.b)]);
      return [differences, rows.length === 0 ? `${a} and ${b} do not differ` : textTable(['', a, b], rows)];
    });

const shown = (value: unknown): string =>
  value === null ? '–' : typeof value === 'number' && !Number.isInteger(value) ? value.toPrecision(5) : String(value);
