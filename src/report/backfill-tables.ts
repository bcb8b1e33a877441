import type { BackfillCurve, BackfillSimulation } from '../backfill/simulation.ts';
import { percent, pointsWithInterval } from './number-format.ts';
import type { TitledTable } from './summary-tables.ts';

/** Metrics whose tables a terminal shows. */
const FIRST_METRIC = 'rank-1';

/** What the words of the tables mean. */
export const backfillGlossary: readonly (readonly [term: string, meaning: string])[] = [
  ['share', 'part of the gallery that is moved to the new model; queries are the new model’s at every moment'],
  ['area', 'mean quality over a move at constant speed: the trapezoid area below the curve'],
  ['worst', 'lowest point of the curve, and the share at which it is'],
  [
    'over old',
    'what the worst point is more than old → old, with the 95 % interval over identities; of a random order that of the first draw',
  ],
  ['95 % at, 100 % at', 'least share at which this much of new → new is reached; –: at none'],
  ['direct', 'scores of moved and unmoved rows are compared as they are'],
  ['calibrated', 'scores of both are mapped to log-odds of a match first'],
  ['rank-fusion', 'both are searched on their own, and results are taken in turn, moved rows first'],
];

const shareText = (share: number | null): string => (share === null ? '–' : share.toFixed(2));

const curveRow = ({ order, merge, area, worst, belowOld, reaches }: BackfillCurve): string[] => [
  order,
  merge,
  percent(area),
  `${percent(worst.value)} at ${shareText(worst.share)}${belowOld ? ', below old' : ''}`,
  pointsWithInterval(worst.overOld),
  shareText(reaches.most),
  shareText(reaches.all),
];

/** A table for each metric: a row for each order and merge. */
export const backfillTables = ({ ends, curves }: BackfillSimulation): TitledTable[] =>
  ends.map(({ metric }) => ({
    title: `${metric} while the gallery is moved`,
    header: ['order', 'scores', 'area', 'worst', 'over old, 95 %', '95 % at', '100 % at'],
    rows: curves.filter((curve) => curve.metric === metric).map(curveRow),
  }));

/** The three tests in which the gallery is of one model. */
export const endsTable = ({ ends }: BackfillSimulation): TitledTable => ({
  title: 'Before and after',
  header: ['metric', 'old → old', 'new → old', 'new → new'],
  rows: ends.map(({ metric, oldOld, newOld, newNew }) => [metric, percent(oldOld), percent(newOld), percent(newNew)]),
});

/** The tables that a terminal shows. */
export const firstBackfillTables = (simulation: BackfillSimulation): TitledTable[] => [
  endsTable(simulation),
  ...backfillTables(simulation).filter(({ title }) => title.startsWith(`${FIRST_METRIC} `)),
];

export function backfillProtocolText({ dataset, crossing, protocol, shares }: BackfillSimulation): string {
  const { probes, galleries, genuinePairs, impostorPairs, draws, seed } = protocol;
  const count = (n: number): string => n.toLocaleString('en-US');
  const meets = {
    direct: 'as they are',
    projection: 'through the projection of the new model',
    'query adapter': 'through an adapter for the query',
    'gallery adapter': 'in the new space, into which an adapter maps the old rows',
  }[crossing];
  return `${count(dataset.images)} images of ${count(dataset.classes)} classes. ${count(probes)} probes on two galleries of ${galleries.map(count).join(' and ')} entries; ${count(genuinePairs)} genuine and ${count(impostorPairs)} impostor pairs. New queries meet unmoved rows ${meets}. ${shares.length} points; a random order is the mean of ${draws} draws, seed ${seed}.`;
}

export const skippedText = ({ skipped }: BackfillSimulation): string[] =>
  skipped.map(({ what, why }) => `${what} is skipped: ${why}`);
