import * as Plot from '@observablehq/plot';
import type { CandidateResult, EmbeddingMap, Evaluation } from '../eval/index.ts';
import { plot } from './chart.ts';

import { linkedTerm } from './definitions.ts';
import { percent } from './number-format.ts';
import { nameHtml, shortName, svgElement } from './page-parts.ts';
import type { ReportPictures } from './pictures.ts';

/** Where both models place the same images; beside it the oracle, which was trained without the old model. */
export function mapSection(
  evaluation: Evaluation,
  { name }: CandidateResult,
  pictures: ReportPictures,
  { besideOracle }: { readonly besideOracle: boolean },
): string {
  const { tests, models } = evaluation;
  const old = models.find(({ role }) => role === 'old')!.name;
  const oracle = models.find(({ role }) => role === 'oracle')?.name;
  const mapOf = (query: string | undefined): EmbeddingMap | undefined =>
    tests.find((test) => test.query === query && test.gallery === old)?.map;
  const map = mapOf(name);
  if (!map || map.classes.length === 0) return '';
  const beside = besideOracle ? mapOf(oracle) : undefined;
  const figure = (query: string, of: EmbeddingMap): string => {
    const images = of.classes.reduce((sum, { images }) => sum + images.length, 0);
    const label = `${images} images of ${of.classes.length} classes in one plane, by the old model and by ${query}; the plane shows ${percent(of.explained)} % of their variance; the mean way from one to the other is ${meanWay(of).toFixed(3)} of the plane’s ${meanSpread(of).toFixed(3)} between classes`;
    return `<figure><figcaption>${nameHtml(query)}: mean way ${meanWay(of).toFixed(3)}, between classes ${meanSpread(of).toFixed(3)}; the plane shows ${percent(of.explained)} % of the variance</figcaption>\n${svgElement(label, SIZE, drawing(of))}</figure>`;
  };
  return `<h4>Map</h4>
<p>The same images of ${map.classes.length} classes, drawn by seed, in one plane (${linkedTerm('map', 'map')}): rings are the old model’s embeddings, dots the new one’s, a line joins both of an image. Short lines and dots among their own rings are what compatibility means${beside ? '; the oracle was trained without the old model' : ''}.</p>
<div class="side-by-side">${figure(name, map)}${beside ? figure(oracle!, beside) : ''}</div>
<ol class="classes">${map.classes.map(({ label, images }, nth) => classEntry(nth, pictures.className(label), pictures.image(images[0]!))).join('')}</ol>`;
}

const distance = (a: readonly [number, number], b: readonly [number, number]): number =>
  Math.hypot(a[0] - b[0], a[1] - b[1]);
const average = (values: readonly number[]): number =>
  values.reduce((sum, x) => sum + x, 0) / Math.max(values.length, 1);

/** Mean distance in the plane from an image by the old model to itself by the new one. */
function meanWay({ classes }: EmbeddingMap): number {
  return average(classes.flatMap(({ gallery, query }) => gallery.map((point, i) => distance(point, query[i]!))));
}

const centre = (points: readonly (readonly [number, number])[]): [number, number] => [
  average(points.map(([x]) => x)),
  average(points.map(([, y]) => y)),
];

/** Mean distance in the plane between the middles of two classes by the old model. */
function meanSpread({ classes }: EmbeddingMap): number {
  const middles = classes.map(({ gallery }) => centre(gallery));
  return average(middles.flatMap((a, i) => middles.slice(i + 1).map((b) => distance(a, b))));
}

/** Eight colours that people with colour vision deficiencies tell apart; each class is named, too. */
const colourOf = (nth: number): string => ['var(--c0)', 'var(--c1)', 'var(--c2)', 'var(--c3)', 'var(--c4)', 'var(--c5)', 'var(--old)', 'var(--c6)'][nth % 8]!; // biome-ignore format: short

const classEntry = (nth: number, name: string, image: string | undefined): string =>
  `<li style="--series:${colourOf(nth)}"><b>${nth + 1}</b>${image === undefined ? '' : `<img src="${image}" alt="">`}${nameHtml(shortName(name, 60))}</li>`;

/** One size for all screens: its only text is large. */
const SIZE = { name: 'any', width: 520, height: 420 } as const;

function drawing({ classes }: EmbeddingMap) {
  const { width, height } = SIZE;
  const all = classes.flatMap(({ gallery, query }) => [...gallery, ...query]);
  const domain = (of: 0 | 1): [number, number] => {
    const values = all.map((point) => point[of]);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const room = 0.06 * Math.max(most - least, 1e-3);
    return [least - room, most + room];
  };
  const marks = classes.flatMap(({ gallery, query }, nth): Plot.Markish[] => {
    const stroke = colourOf(nth);
    const pairs = gallery.map(([x1, y1], i) => ({ x1, y1, x2: query[i]![0], y2: query[i]![1] }));
    const [x, y] = centre(query);
    return [
      // one line with gaps is a tenth of the size of many
      Plot.line(
        pairs.flatMap(({ x1, y1, x2, y2 }) => [[x1, y1], [x2, y2], [Number.NaN, Number.NaN]]), // biome-ignore format: short
        { stroke, strokeOpacity: 0.55, strokeWidth: 1 },
      ),
      Plot.dot(pairs, { x: 'x1', y: 'y1', stroke, fill: 'var(--page)', r: 3.5, strokeWidth: 1.5 }),
      Plot.dot(pairs, { x: 'x2', y: 'y2', fill: stroke, r: 3.8 }),
      Plot.text([{ x, y }], { x: 'x', y: 'y', text: () => `${nth + 1}`, fontSize: 16, fontWeight: 'bold', fill: 'currentColor', stroke: 'var(--page)', strokeWidth: 4 }), // biome-ignore format: short
    ];
  });
  return {
    height,
    content: plot({ width, height, margin: 12, x: { axis: null, domain: domain(0) }, y: { axis: null, domain: domain(1) }, marks }), // biome-ignore format: short
  };
}
