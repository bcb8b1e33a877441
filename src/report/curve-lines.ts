import type { Band, Evaluation, TestResult } from '../eval/index.ts';
import { testName } from './format.ts';

/** An evaluation and its name beside others; a single one has an empty name. */
export type NamedEvaluation = { readonly name: string; readonly evaluation: Evaluation };

export type Point = { readonly x: number; readonly y: number };

/** Colour and symbol show the model; dashes show that the gallery is its own. */
export type LineStyle = { readonly colour: string; readonly symbol: string | null; readonly dashed: boolean };
export type Line = {
  readonly label: string;
  readonly look: LineStyle;
  readonly points: readonly Point[];
  /** Values between which it is shaded. */
  readonly band?: readonly { readonly x: number; readonly low: number; readonly high: number }[];
};

/** Axes of a figure. `share`: 0 … 1; `near`: as far as the curves reach. */
export type Axes = {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly scale: { readonly x: 'log' | 'rank' | 'share'; readonly y: 'linear' | 'log' | 'near' };
};

export type FigureName = 'roc' | 'det' | 'tpir' | 'cmc';
type Curve = { readonly x: readonly number[]; readonly y: readonly number[]; readonly band?: Band | undefined };

export type FigureKind = Axes & {
  readonly name: FigureName;
  /** What a value of x is called. */
  readonly at: string;
  /** What a value of y is called. */
  readonly value: string;
  /** x of the tables and of the cursor at first. */
  readonly ticks: readonly number[];
  readonly start: number;
  /** The curve of a test, if it has one. */
  curve(test: TestResult): Curve | undefined;
};

const roc = ({ verification }: TestResult): Curve | undefined =>
  verification ? { x: verification.curve.far, y: verification.curve.tar, band: verification.band } : undefined;
const oneMinus = (values: readonly number[]): number[] => values.map((value) => 1 - value);

export const figureKinds: readonly FigureKind[] = [
  {
    name: 'roc',
    title: 'Verification: ROC',
    x: 'false accept rate (FAR)',
    y: 'true accept rate (TAR)',
    at: 'FAR',
    value: 'TAR',
    ticks: [1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
    start: 1e-3,
    curve: roc,
    scale: { x: 'log', y: 'linear' },
  },
  {
    name: 'det',
    title: 'Verification: DET',
    x: 'false accept rate (FAR)',
    y: 'false reject rate (1 − TAR)',
    at: 'FAR',
    value: '1 − TAR',
    ticks: [1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
    start: 1e-3,
    curve: (test) => {
      const curve = roc(test);
      if (!curve) return undefined;
      const { x, y, band } = curve;
      return { x, y: oneMinus(y), band: band && { x: band.x, low: oneMinus(band.high), high: oneMinus(band.low) } };
    },
    scale: { x: 'log', y: 'log' },
  },
  {
    name: 'tpir',
    title: 'Open-set identification: TPIR over FPIR',
    x: 'false positive identification rate (FPIR)',
    y: 'true positive identification rate (TPIR)',
    at: 'FPIR',
    value: 'TPIR',
    ticks: [1e-3, 1e-2, 1e-1, 1],
    start: 1e-1,
    curve: ({ identification }) =>
      identification
        ? { x: identification.curve.fpir, y: identification.curve.tpir, band: identification.band }
        : undefined,
    scale: { x: 'log', y: 'linear' },
  },
  {
    name: 'cmc',
    title: 'Closed-set identification: CMC',
    x: 'rank',
    y: 'identification rate',
    at: 'rank',
    value: 'rate',
    ticks: [1, 2, 5, 10, 20, 50],
    start: 1,
    curve: ({ identification }) =>
      identification?.cmc
        ? { x: identification.cmc.rank, y: identification.cmc.rate, band: identification.cmcBand }
        : undefined,
    scale: { x: 'rank', y: 'linear' },
  },
];

export type TestLine = {
  readonly label: string;
  readonly look: LineStyle;
  readonly test: TestResult;
  readonly curve: Curve;
};

/** The tests of all evaluations that a figure has curves of. */
export function figureLines({ curve }: FigureKind, runs: readonly NamedEvaluation[]): TestLine[] {
  const looks = lineStyles(runs);
  return runs.flatMap(({ name, evaluation }, run) =>
    evaluation.tests.flatMap((test) => {
      const found = curve(test);
      if (!found?.x.some((x) => x > 0)) return [];
      const label = runs.length > 1 ? `${name}: ${testName(test)}` : testName(test);
      return [{ label, look: looks(run, test), test, curve: found }];
    }),
  );
}

/** What the axes can show: a logarithmic axis has no place for 0, so a line of a DET ends at its last miss. */
export function drawnLine({ label, look, curve: { x, y, band } }: TestLine, { scale }: Axes): Line {
  const fits = (at: number, ...values: readonly number[]): boolean =>
    at > 0 && values.every((value) => Number.isFinite(value) && (scale.y !== 'log' || value > 0));
  return {
    label,
    look,
    points: x.flatMap((at, i) => (fits(at, y[i]!) ? [{ x: at, y: y[i]! }] : [])),
    ...(band && {
      band: band.x.flatMap((at, i) =>
        fits(at, band.low[i]!, band.high[i]!) ? [{ x: at, low: band.low[i]!, high: band.high[i]! }] : [],
      ),
    }),
  };
}

export const OLD = '#1a1a1a';
export const ORACLE = '#8c8c8c';
/**
 * Colours of new models in turn, which people with colour vision deficiencies tell apart (Okabe and Ito, "Color universal design",
 * 2008); with more models than colours, lines get symbols.
 */
export const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'] as const;
const SYMBOLS = [null, 'circle', 'square', 'triangle', 'diamond', 'star', 'cross', 'times', 'wye'] as const;

/** A model has one colour in all evaluations (old models black, oracles grey) and other symbols in each. */
export function lineStyles(
  runs: readonly NamedEvaluation[],
): (run: number, test: Pick<TestResult, 'query' | 'gallery'>) => LineStyle {
  const roles = runs.map(({ evaluation }) => new Map(evaluation.models.map(({ name, role }) => [name, role])));
  const roleOf = (run: number, name: string) => roles[run]!.get(name) ?? 'new';
  const queries = runs.flatMap(({ evaluation }, run) => evaluation.tests.map(({ query }) => ({ run, query })));
  const news = [...new Set(queries.filter(({ run, query }) => roleOf(run, query) === 'new').map(({ query }) => query))];
  const rounds = Math.max(1, Math.ceil(news.length / COLOURS.length));
  return (run, { query, gallery }) => {
    const role = roleOf(run, query);
    const nth = role === 'new' ? news.indexOf(query) : 0;
    return {
      colour: role === 'old' ? OLD : role === 'oracle' ? ORACLE : COLOURS[nth % COLOURS.length]!,
      symbol: SYMBOLS[(run * rounds + Math.floor(nth / COLOURS.length)) % SYMBOLS.length]!,
      dashed: query === gallery && role !== 'old',
    };
  };
}
