import * as Plot from '@observablehq/plot';
import type { Comparison } from '../eval/index.ts';
import { metrics } from '../eval/metrics/index.ts';
import { axis, plot } from './chart.ts';
import { linkedTerm } from './definitions.ts';
import { htmlText } from './format.ts';
import { type DrawingSize, drawings, shortName } from './page-parts.ts';
import { seriesColour } from './theme-colours.ts';
import type { JudgedModel } from './verdict-section.ts';

type Place = {
  readonly name: string;
  readonly colour: string;
  readonly comparison: Comparison;
  readonly tax: number;
  readonly gain: number;
};

/** For each metric of summaries, a map of the new models: what they gain on the old gallery, and what compatibility costs them. */
export function tradeOffSection(models: readonly JudgedModel[]): string {
  const maps = metrics
    .filter(({ verdict }) => verdict?.summary)
    .flatMap(({ name: metric }) => {
      const places = models.flatMap(({ label, candidate }, nth): Place[] => {
        const comparison = candidate.comparisons.find((c) => c.metric === metric);
        return comparison?.tax
          ? [{ name: label, colour: seriesColour(nth), comparison, tax: 100 * comparison.tax.value, gain: 100 * comparison.difference.value }] // biome-ignore format: short
          : [];
      });
      const finite = places.filter(({ tax, gain }) => Number.isFinite(tax + gain));
      return finite.length > 0 ? [figure(metric, finite)] : [];
    });
  if (maps.length === 0) return '';
  return `<h3 id="trade-off">Gain against cost</h3>
<p>Up: what the new model’s queries gain on the old gallery (${linkedTerm('difference')}). Further right: the less compatibility costs the new model on its own gallery (${linkedTerm('tax')}). Best is the upper right. Bars are 95 % intervals${models.length > 1 ? '; the stepped line joins the models that no other one beats by both' : ''}.</p>
<div class="side-by-side">${maps.join('\n')}</div>`;
}

/** Width of a drawing beside another one. */
const BROAD = 540;

/** The models that no other one beats by both, from the cheapest on. */
export function paretoFront<T extends Pick<Place, 'tax' | 'gain'>>(places: readonly T[]): T[] {
  const beaten = (one: T): boolean =>
    places.some((other) => other.tax <= one.tax && other.gain >= one.gain && (other.tax < one.tax || other.gain > one.gain)); // biome-ignore format: short
  return places.filter((one) => !beaten(one)).sort((a, b) => a.tax - b.tax);
}

function figure(metric: string, places: readonly Place[]): string {
  const label = `${metric}: gain on the old gallery against tax. ${places.map(({ name, gain, tax }) => `${name}: gain ${gain.toFixed(2)}, tax ${tax.toFixed(2)}`).join('; ')}`;
  return `<figure><figcaption>${linkedTerm(metric)}</figcaption>\n${drawings(label, (size) => drawing(places, size), { broad: BROAD })}</figure>`;
}

function drawing(places: readonly Place[], { width, name }: DrawingSize) {
  const height = name === 'broad' ? 340 : 300;
  const bars = places.flatMap(({ comparison: { difference, tax }, colour, ...at }) => [
    { x1: at.tax, x2: at.tax, y1: 100 * difference.low, y2: 100 * difference.high, colour },
    { x1: 100 * tax!.low, x2: 100 * tax!.high, y1: at.gain, y2: at.gain, colour },
  ]);
  const [xs, ys] = [bars.flatMap(({ x1, x2 }) => [x1, x2]), bars.flatMap(({ y1, y2 }) => [y1, y2])];
  const domain = (values: readonly number[]): [number, number] => {
    const [least, most] = [Math.min(0, ...values), Math.max(0, ...values)];
    const room = 0.08 * Math.max(most - least, 1);
    return [least - room, most + room];
  };
  const front = paretoFront(places);
  const [left, right] = domain(xs).reverse() as [number, number];
  return {
    height,
    content: plot({
      width,
      height,
      marginLeft: 48,
      marginRight: 14,
      marginTop: 26,
      marginBottom: 44,
      x: { ...axis, domain: [left, right], label: 'tax, percentage points', labelAnchor: 'center', labelOffset: 36, ticks: name === 'broad' ? 8 : 5 }, // biome-ignore format: short
      y: { ...axis, domain: domain(ys), label: 'gain on the old gallery, percentage points', ticks: 6 },
      marks: [
        Plot.ruleY([0], { stroke: 'var(--old)', strokeWidth: 1.5 }),
        Plot.ruleX([0], { stroke: 'var(--oracle)', strokeWidth: 1.5, strokeDasharray: '6 4' }),
        Plot.text([{ x: left, y: 0 }], { x: 'x', y: 'y', text: () => 'as good as old → old', textAnchor: 'start', dx: 4, dy: -7, fill: 'var(--muted)' }), // biome-ignore format: short
        Plot.text([{ x: 0, y: domain(ys)[0] }], { x: 'x', y: 'y', text: () => 'as good as the oracle on its own', rotate: -90, textAnchor: 'start', dx: -7, fill: 'var(--muted)' }), // biome-ignore format: short
        ...(front.length > 1
          ? [
              Plot.line(front, {
                x: 'tax',
                y: 'gain',
                curve: 'step-before',
                stroke: 'var(--muted)',
                strokeOpacity: 0.7,
              }),
            ]
          : []),
        Plot.link(bars, { x1: 'x1', x2: 'x2', y1: 'y1', y2: 'y2', stroke: ({ colour }: (typeof bars)[number]) => colour, strokeOpacity: 0.55, strokeWidth: 1.5 }), // biome-ignore format: short
        ...places.map((place) => Plot.dot([place], { x: 'tax', y: 'gain', r: 5, fill: place.colour })),
        Plot.text(places, { x: 'tax', y: 'gain', text: ({ name: of }: Place) => shortName(of, 24), dy: -11, fontWeight: 'bold' }), // biome-ignore format: short
      ],
    }),
  };
}

/** Says where there is no map. */
export const withoutOracle = (models: readonly JudgedModel[]): string =>
  models.every(({ candidate }) => candidate.comparisons.every(({ tax }) => tax === null))
    ? `<p class="small">${htmlText('Without an oracle (mixbct evaluate --oracle) the cost of compatibility is not known, so there is no map of gain against cost.')}</p>`
    : '';
