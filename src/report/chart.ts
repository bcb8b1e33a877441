import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { powerOfTen } from '../eval/metrics/metric.ts';
import type { Axes, Line, LineStyle, Point } from './curve-lines.ts';

/** Symbols along one line, and how far those of the next line are shifted, as a share of their distance. */
const [SYMBOLS_PER_LINE, SHIFT] = [8, 0.38];
const STROKE = 1.75;

// Attributes only: not every reader of SVG knows styles.
export const stroke = ({ colour, dashed }: LineStyle, points: readonly Point[], className?: string): Plot.Markish =>
  Plot.line(points, {
    x: 'x',
    y: 'y',
    stroke: colour,
    strokeWidth: STROKE,
    ...(dashed && { strokeDasharray: '6 4' }),
    ...(className && { className }),
  });

export const symbols = (
  { colour, symbol }: LineStyle,
  points: readonly Point[],
  fill: string,
  className?: string,
): Plot.Markish[] =>
  symbol === null
    ? []
    : [Plot.dot(points, { x: 'x', y: 'y', symbol, stroke: colour, fill, r: 3.5, ...(className && { className }) })];

/** The marks of a line, the `nth` of its figure. `classOf` names its elements by what they are. */
export const lineMarks = (
  { look, points, band }: Line,
  nth: number,
  {
    background = 'white',
    classOf,
  }: { readonly background?: string; readonly classOf?: (part: 'line' | 'band') => string } = {},
): Plot.Markish[] => [
  ...(band
    ? [
        Plot.areaY(band, {
          x: 'x',
          y1: 'low',
          y2: 'high',
          fill: look.colour,
          fillOpacity: 0.15,
          ...(classOf && { className: classOf('band') }),
        }),
      ]
    : []),
  stroke(look, points, classOf?.('line')),
  ...symbols(look, symbolPoints(points, (SHIFT * nth) % 1), background, classOf?.('line')),
];

/** A few of the points, at equal distances on a logarithmic axis. */
function symbolPoints(points: readonly Point[], shift: number): Point[] {
  if (points.length === 0) return [];
  const [from, to] = [points[0]!, points.at(-1)!].map(({ x }) => Math.log(x)) as [number, number];
  return Array.from({ length: SYMBOLS_PER_LINE }, (_, i) => {
    const at = from + ((i + shift) / SYMBOLS_PER_LINE) * (to - from);
    return points.find(({ x }) => Math.log(x) >= at)!;
  });
}

/** 1 where there is nothing to draw. */
const minimum = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), 1);

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

export const axis = { grid: true, labelArrow: 'none' } as const;

/** The axis of values: from at most 0.9 to 1, or as far as the values reach. */
function valueAxis(values: readonly number[], kind: 'linear' | 'near') {
  const [least, most] = [minimum(values), values.reduce((a, b) => Math.max(a, b), 0)];
  if (kind === 'linear') return { domain: [Math.min(0.9, Math.floor(least * 10) / 10), 1] as const };
  return {
    domain: [
      Math.floor(least * 20) / 20,
      Math.max(Math.ceil(most * 20) / 20, Math.floor(least * 20) / 20 + 0.05),
    ] as const,
  };
}

/** The scales of a figure: as far as its lines and bands reach. */
export function figureScales({ x, y, scale }: Axes, lines: readonly Line[]) {
  const points = lines.flatMap((line) => line.points);
  const bounds = lines.flatMap(({ band = [] }) => band.flatMap(({ low, high }) => [low, high]));
  const [xs, ys] = [points.map((point) => point.x), [...points.map((point) => point.y), ...bounds]];
  return {
    x: {
      ...axis,
      ...(scale.x === 'rank' ? rankAxis(xs) : scale.x === 'log' ? logAxis(xs) : { domain: [0, 1] as const }),
      label: x,
      labelAnchor: 'center',
      labelOffset: 38,
    },
    y: { ...axis, ...(scale.y === 'log' ? logAxis(ys) : valueAxis(ys, scale.y)), label: y },
  } as const;
}

/** The content of Plot's SVG element, without its style sheet. */
export function plot(options: Plot.PlotOptions): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const svg = Plot.plot({ document, ...options });
  svg.querySelector('style')?.remove();
  return svg.innerHTML;
}
