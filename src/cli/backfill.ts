import { join } from 'node:path';
import { backfillOrders, scoreMerges } from '../backfill/simulation.ts';
import { renderBackfillTerminal } from '../report/terminal.ts';
import { command, group } from './context.ts';

export const backfillCommand = () =>
  group('backfill', 'simulate a gallery that is moved to the new model row by row')
    .example('mixbct backfill simulate --old features/old-eval --new features/mixbct-eval --out runs/backfill')
    .addCommand(simulateCommand());

const NEW = "the new model's; own,old if it has a projection; features+adapter or features,adapted through an adapter";
const MERGES = 'how scores of moved and unmoved rows are ranked (default: all)';

const simulateCommand = () =>
  command('simulate', 'quality while a gallery is moved, in several orders; queries are always the new model’s')
    .example(
      'mixbct backfill simulate --old features/old-eval --new features/mixbct-eval --out runs/backfill',
      'mixbct backfill simulate --old features/old-eval --new features/oracle-eval+adapters/gallery --out runs/backfill',
    )
    .requiredOption('--old <features>', "the old model's feature set of classes that no model was trained on")
    .requiredOption('--new <features>', NEW)
    .requiredOption('--out <folder>', 'folder for backfill.json, backfill.html and the orders')
    .option('--title <text>', 'title of the page', 'Moving the gallery')
    .listOption('--orders <list>', 'in which rows are moved (default: all)', backfillOrders)
    .listOption('--merges <list>', MERGES, scoreMerges)
    .option(
      '--thresholds <file>',
      'file of mixbct thresholds, or an evaluation: its calibrations, in place of those fitted here',
    )
    .wholeOption('--draws <n>', 'draws of the random order', { least: 1, most: 1000 }, 20)
    .wholeOption('--steps <n>', 'parts into which the move is divided', { least: 1, most: 1000 }, 20)
    .shared('genuines', 'impostors', 'probes', 'resamples', 'memory', 'maxZeroShare', 'threads', 'seed', 'force')
    .computes(async ({ new: text, memory, ...options }) => {
      const [{ newModelFrom }, { writeBackfill }] = await Promise.all([
        import('../stages/candidate.ts'),
        import('../stages/backfill.ts'),
      ]);
      const { features, ...crossing } = newModelFrom(text, `--new ${text}`);
      const allowed = memory && { memoryBytes: memory * 1e9 };
      const simulation = await writeBackfill({ ...options, new: features, ...crossing, ...allowed });
      return [simulation, `${renderBackfillTerminal(simulation)}\npage: ${join(options.out, 'backfill.html')}`];
    });
