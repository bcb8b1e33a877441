import type { Comparison, Evaluation } from '../eval/index.ts';
import { mean } from '../eval/mean.ts';
import { metrics } from '../eval/metrics/index.ts';
import { gainText, percent, pointsWithInterval } from './number-format.ts';

const summaryMetrics = metrics.filter(({ verdict }) => verdict?.summary).map(({ name }) => name);

const columns = ['new model', 'new → new', 'new → old', 'over old → old', 'criterion', 'update gain', 'tax'] as const;

export type TitledTable = {
  readonly title: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
};

const listed = (xs: readonly string[]): string => (xs.length > 1 ? `(${xs.join(', ')})` : (xs[0] ?? '–'));

/**
 * One table for each metric with `verdict.summary`. A row is a new model: means over the evaluations that judge a model of that
 * name by that metric, and each one's difference to old → old with its interval.
 */
export function summaryTables(evaluations: readonly Evaluation[]): TitledTable[] {
  const names = [...new Set(evaluations.flatMap(({ candidates }) => candidates.map(({ name }) => name)))];
  return summaryMetrics.flatMap((metric) => {
    const of = (name: string): Comparison[] =>
      evaluations.flatMap(({ candidates }) =>
        candidates
          .filter((candidate) => candidate.name === name)
          .flatMap(({ comparisons }) => comparisons.filter((comparison) => comparison.metric === metric)),
      );
    const judged = names.filter((name) => of(name).length > 0);
    if (judged.length === 0) return [];
    const any = judged.flatMap(of);
    const oracles = any.map(({ oracle }) => oracle).filter((oracle) => oracle !== null);
    const base = [
      `old → old ${percent(mean(any.map(({ oldOld }) => oldOld)))}`,
      ...(oracles.length > 0 ? [`oracle → oracle ${percent(mean(oracles))}`] : []),
    ];
    return {
      title: `${metric} (${base.join(', ')})`,
      header: columns,
      rows: judged.map((name) => rowOf(name, of(name))),
    };
  });
}

function rowOf(name: string, comparisons: readonly Comparison[]): string[] {
  const average = (pick: (comparison: Comparison) => number): number => mean(comparisons.map(pick));
  const verdicts = (['met', 'undecided', 'missed', 'withheld'] as const).flatMap((criterion) => {
    const count = comparisons.filter((comparison) => comparison.criterion === criterion).length;
    return count === 0 ? [] : [comparisons.length === 1 ? criterion : `${criterion} ${count}`];
  });
  const withOracle = comparisons.filter(({ tax }) => tax !== null);
  return [
    name,
    percent(average(({ newNew }) => newNew)),
    percent(average(({ newOld }) => newOld)),
    listed(comparisons.map(({ difference }) => pointsWithInterval(difference))),
    verdicts.join(', '),
    listed(withOracle.map(({ updateGain }) => gainText(updateGain))),
    listed(withOracle.map(({ tax }) => pointsWithInterval(tax!))),
  ];
}
