import { COLOURS, type Line } from '../report/curve-lines.ts';
import { drawFigure } from '../report/curves.ts';
import { percent } from '../report/number-format.ts';
import { textTable } from '../report/terminal.ts';
import { gainMetrics } from './score.ts';
import { settingsText, type Trial, type TunedMethod, type Tuning } from './tuning-artifact.ts';

/** One symbol for each trial of a method. */
const SYMBOLS = ['circle', 'square', 'triangle', 'diamond', 'star', 'cross', 'times', 'wye'] as const;

const scoreAt = ({ rounds }: Trial, epochs: number): number | undefined =>
  rounds.find((round) => round.epochs === epochs)?.score;

/** The best of the last round first, then by how far they came. */
function ordered({ trials, chosen }: TunedMethod): Trial[] {
  const last = ({ rounds }: Trial): number => rounds.at(-1)?.score ?? Number.NEGATIVE_INFINITY;
  return [...trials].sort(
    (a, b) =>
      Number(b.trial === chosen) - Number(a.trial === chosen) ||
      b.rounds.length - a.rounds.length ||
      last(b) - last(a) ||
      a.trial - b.trial,
  );
}

/** What trial 0 has, or what another one has otherwise. */
const settingsOf = ({ trials, defaults = false }: TunedMethod, { trial, options }: Trial): string =>
  trial > 0 ? settingsText(options, trials[0]!.options) : defaults ? 'defaults' : 'as in the experiment';

/** One row for each trial, as text. */
export function renderTuning(tuning: Tuning): string {
  const { rounds, methods, metric, validation, oldOld, oracle } = tuning;
  const header = [
    ...['method', 'trial', 'settings'],
    ...rounds.map((epochs) => `${epochs} ep.`),
    ...gainMetrics.map((name) => `gain ${name}`),
    'tax',
    '',
  ];
  const rows = methods.flatMap((method) =>
    ordered(method).map((trial) => {
      const { gains = [], tax = null } = trial.rounds.at(-1) ?? {};
      return [
        ...[method.method, String(trial.trial), settingsOf(method, trial)],
        ...rounds.map((epochs) => percent(scoreAt(trial, epochs) ?? Number.NaN)),
        ...gainMetrics.map((_, i) => percent(gains[i] ?? Number.NaN)),
        percent(tax ?? Number.NaN),
        trial.problem ?? (trial.trial === method.chosen ? 'chosen' : ''),
      ];
    }),
  );
  const sides = gainMetrics.map(
    (name, i) => `${name}: old → old ${percent(oldOld[i]!)}, oracle → oracle ${percent(oracle[i]!)}`,
  );
  return [
    textTable(header, rows),
    `score: ${metric}, on ${validation.images} images of ${validation.classes} validation classes; gains and tax at a trial's last round, in % of what the oracle is better than the old model`,
    ...sides,
  ].join('\n');
}

/** Score over epochs, a line for each trial: colours are methods, symbols are trials; those that were not chosen are dashed. */
export function drawTuning({ title, metric, methods }: Tuning): string {
  const lines = methods.flatMap((method, nth): Line[] =>
    method.trials
      .filter(({ rounds }) => rounds.length > 0)
      .map((one) => ({
        label: `${method.method} ${one.trial}: ${settingsOf(method, one)}${one.trial === method.chosen ? ', chosen' : ''}`,
        look: {
          colour: COLOURS[nth % COLOURS.length]!,
          symbol: SYMBOLS[one.trial % SYMBOLS.length]!,
          dashed: one.trial !== method.chosen,
        },
        points: one.rounds.map(({ epochs, score }) => ({ x: epochs, y: score })),
      })),
  );
  return drawFigure(
    { title: `Trials: ${title}`, x: 'epochs', y: `score (${metric})`, scale: { x: 'rank', y: 'near' } },
    lines,
  );
}
