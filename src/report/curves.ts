import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import type { Evaluation, TestResult } from '../eval/index.ts';
import { powerOfTen } from '../eval/metrics/metric.ts';
import { htmlText, testName } from './format.ts';

/** An evaluation and its name beside others; a single one has an empty name. */
export type NamedEvaluation = { readonly name: string; readonly evaluation: Evaluation };

/** A complete SVG document with background, fonts and legend. */
export type Figure = { readonly name: 'roc' | 'det' | 'tpir' | 'cmc'; readonly title: string; readonly svg: string };

type Point = { readonly x: number; readonly y: number };

/** Colour and symbol show the model; dashes show that the gallery is its own. */
type LineStyle = { readonly colour: string; readonly symbol: string | null; readonly dashed: boolean };
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

type FigureKind = Omit<Figure, 'svg'> &
  Axes & {
    /** The curve of a test, if it has one. */
    points(test: TestResult): readonly Point[];
  };

/** The points with x above 0, which a logarithmic axis can show. */
const logPoints = (x: readonly number[], y: readonly number[]): Point[] =>
  x.map((value, i) => ({ x: value, y: y[i]! })).filter((point) => point.x > 0);

const figureKinds: readonly FigureKind[] = [
  {
    name: 'roc',
    title: 'Verification: ROC',
    x: 'false accept rate (FAR)',
    y: 'true accept rate (TAR)',
    points: ({ verification }) => (verification ? logPoints(verification.curve.far, verification.curve.tar) : []),
    scale: { x: 'log', y: 'linear' },
  },
  {
    name: 'det',
    title: 'Verification: DET',
    x: 'false accept rate (FAR)',
    y: 'false reject rate (1 − TAR)',
    // a logarithmic axis cannot show a rate of 0, so the line ends at its last miss
    points: ({ verification }) =>
      verification
        ? logPoints(
            verification.curve.far,
            verification.curve.tar.map((tar) => 1 - tar),
          ).filter(({ y }) => y > 0)
        : [],
    scale: { x: 'log', y: 'log' },
  },
  {
    name: 'tpir',
    title: 'Open-set identification: TPIR over FPIR',
    x: 'false positive identification rate (FPIR)',
    y: 'true positive identification rate (TPIR)',
    points: ({ identification }) =>
      identification ? logPoints(identification.curve.fpir, identification.curve.tpir) : [],
    scale: { x: 'log', y: 'linear' },
  },
  {
    name: 'cmc',
    title: 'Closed-set identification: CMC',
    x: 'rank',
    y: 'identification rate',
    points: ({ identification }) =>
      identification?.cmc ? logPoints(identification.cmc.rank, identification.cmc.rate) : [],
    scale: { x: 'rank', y: 'linear' },
  },
];

/** The figures for which there are curves, each with the tests of all evaluations. */
export function figures(runs: readonly NamedEvaluation[]): Figure[] {
  const looks = lineStyles(runs);
  return figureKinds.flatMap(({ points, ...kind }) => {
    const lines = runs.flatMap(({ name, evaluation }, run) =>
      evaluation.tests.map((test) => ({
        label: runs.length > 1 ? `${name}: ${testName(test)}` : testName(test),
        look: looks(run, test),
        points: points(test),
      })),
    );
    const drawn = lines.filter((line) => line.points.length > 0);
    return drawn.length > 0 ? [{ name: kind.name, title: kind.title, svg: drawFigure(kind, drawn) }] : [];
  });
}

export const OLD = '#1a1a1a';
export const ORACLE = '#8c8c8c';
/** Colours of new models in turn; with more models than colours, lines get symbols. */
export const COLOURS = [
  '#1f77b4',
  '#e6550d',
  '#2ca02c',
  '#d62728',
  '#9467bd',
  '#8c564b',
  '#e377c2',
  '#17becf',
] as const;
const SYMBOLS = [null, 'circle', 'square', 'triangle', 'diamond', 'star', 'cross', 'times', 'wye'] as const;

/** A model has one colour in all evaluations (old models black, oracles grey) and other symbols in each. */
function lineStyles(runs: readonly NamedEvaluation[]): (run: number, test: TestResult) => LineStyle {
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

const FONT = 'Helvetica, Arial, DejaVu Sans, sans-serif';
const [WIDTH, HEIGHT, TITLE, SIZE] = [860, 448, 34, 12];
const margin = { marginLeft: 64, marginRight: 24, marginTop: 26, marginBottom: 52 };
/** Symbols along one line, and how far those of the next line are shifted, as a share of their distance. */
const [SYMBOLS_PER_LINE, SHIFT] = [8, 0.38];
const STROKE = 1.75;

// Attributes only: not every reader of SVG knows styles.
const stroke = ({ colour, dashed }: LineStyle, points: readonly Point[]): Plot.Markish =>
  Plot.line(points, { x: 'x', y: 'y', stroke: colour, strokeWidth: STROKE, ...(dashed && { strokeDasharray: '6 4' }) });

const symbols = ({ colour, symbol }: LineStyle, points: readonly Point[]): Plot.Markish[] =>
  symbol === null ? [] : [Plot.dot(points, { x: 'x', y: 'y', symbol, stroke: colour, fill: 'white', r: 3.5 })];

const marks = ({ look, points, band }: Line, nth: number): Plot.Markish[] => [
  ...(band ? [Plot.areaY(band, { x: 'x', y1: 'low', y2: 'high', fill: look.colour, fillOpacity: 0.15 })] : []),
  stroke(look, points),
  ...symbols(look, symbolPoints(points, (SHIFT * nth) % 1)),
];

/** A few of the points, at equal distances on a logarithmic axis. */
function symbolPoints(points: readonly Point[], shift: number): Point[] {
  const [from, to] = [points[0]!, points.at(-1)!].map(({ x }) => Math.log(x)) as [number, number];
  return Array.from({ length: SYMBOLS_PER_LINE }, (_, i) => {
    const at = from + ((i + shift) / SYMBOLS_PER_LINE) * (to - from);
    return points.find(({ x }) => Math.log(x) >= at)!;
  });
}

const minimum = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b));

/** A logarithmic axis from the power of ten at or below the smallest of `values` up to 1. */
function logAxis(values: readonly number[]) {
  const lowest = Math.min(-1, Math.floor(Math.log10(minimum(values))));
  const ticks = Array.from({ length: 1 - lowest }, (_, i) => 10 ** (lowest + i));
  return { type: 'log', domain: [10 ** lowest, 1], ticks, tickFormat: powerOfTen } as const;
}

/** A logarithmic axis of ranks, since the first ranks matter most. */
const rankAxis = (values: readonly number[]) =>
  ({
    type: 'log',
    domain: [1, values.reduce((a, b) => Math.max(a, b), 2)],
    ticks: [1, 2, 5, 10, 20, 50].filter((rank) => values.includes(rank)),
    tickFormat: String,
  }) as const;

const axis = { grid: true, labelArrow: 'none' } as const;

/** The axis of values: from at most 0.9 to 1, or as far as the values reach. */
function valueAxis(values: readonly number[], kind: 'linear' | 'near') {
  const [least, most] = [minimum(values), values.reduce((a, b) => Math.max(a, b))];
  if (kind === 'linear') return { domain: [Math.min(0.9, Math.floor(least * 10) / 10), 1] };
  return {
    domain: [Math.floor(least * 20) / 20, Math.max(Math.ceil(most * 20) / 20, Math.floor(least * 20) / 20 + 0.05)],
  };
}

/** Draws lines as an SVG document with background, fonts and legend. */
export function drawFigure({ title, x, y, scale }: Axes, lines: readonly Line[]): string {
  const points = lines.flatMap((line) => line.points);
  const bounds = lines.flatMap(({ band = [] }) => band.flatMap(({ low, high }) => [low, high]));
  const [xs, ys] = [points.map((point) => point.x), [...points.map((point) => point.y), ...bounds]];
  const chart = plot({
    width: WIDTH,
    height: HEIGHT,
    ...margin,
    x: {
      ...axis,
      ...(scale.x === 'rank' ? rankAxis(xs) : scale.x === 'log' ? logAxis(xs) : { domain: [0, 1] }),
      label: x,
      labelAnchor: 'center',
      labelOffset: 38,
    },
    y: {
      ...axis,
      ...(scale.y === 'log' ? logAxis(ys) : valueAxis(ys, scale.y)),
      label: y,
    },
    marks: lines.flatMap(marks),
  });
  const key = legend(lines);
  const height = TITLE + HEIGHT + key.height;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" font-family="${FONT}" font-size="${SIZE}" color="#1a1a1a" fill="currentColor" text-anchor="middle">
<title>${htmlText(title)}</title>
<rect width="100%" height="100%" fill="white"/>
<text x="${WIDTH / 2}" y="22" font-size="15" font-weight="bold">${htmlText(title)}</text>
<g transform="translate(0 ${TITLE})">${chart}</g>
<g transform="translate(0 ${TITLE + HEIGHT})">${key.marks}</g>
</svg>
`;
}

const [ROW, SAMPLE, GAP] = [20, 40, 8];
/** Width of one letter, for wide fonts. */
const LETTER = 0.62 * SIZE;

/** A sample of each line and its name, in as many columns as fit. */
function legend(lines: readonly Line[]): { readonly marks: string; readonly height: number } {
  const longest = Math.max(...lines.map(({ label }) => label.length));
  const column = SAMPLE + GAP + longest * LETTER + 3 * GAP;
  const room = WIDTH - margin.marginLeft - margin.marginRight;
  const columns = Math.min(lines.length, Math.max(1, Math.floor(room / column)));
  const perColumn = Math.ceil(lines.length / columns);
  const entries = lines.map(({ label, look }, i) => ({
    label,
    look,
    left: margin.marginLeft + Math.floor(i / perColumn) * column,
    y: (i % perColumn) * ROW + ROW / 2,
  }));
  const height = perColumn * ROW + GAP;
  return {
    height,
    marks: plot({
      width: WIDTH,
      height,
      margin: 0,
      x: { axis: null, domain: [0, WIDTH] },
      y: { axis: null, domain: [height, 0] },
      marks: [
        ...entries.flatMap(({ look, left, y }) => [
          stroke(
            look,
            [left, left + SAMPLE].map((x) => ({ x, y })),
          ),
          ...symbols(look, [{ x: left + SAMPLE / 2, y }]),
        ]),
        Plot.text(entries, { x: ({ left }) => left + SAMPLE + GAP, y: 'y', text: 'label', textAnchor: 'start' }),
      ],
    }),
  };
}

/** The content of Plot's SVG element, without its style sheet. */
function plot(options: Plot.PlotOptions): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const svg = Plot.plot({ document, ...options });
  svg.querySelector('style')?.remove();
  return svg.innerHTML;
}
