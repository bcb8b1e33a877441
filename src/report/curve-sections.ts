import { axis, figureScales, lineMarks, plot } from './chart.ts';
import {
  drawnLine,
  type FigureKind,
  figureKinds,
  figureLines,
  type NamedEvaluation,
  type TestLine,
} from './curve-lines.ts';
import { linkedTerm } from './definitions.ts';
import { htmlText } from './format.ts';
import { percent } from './number-format.ts';
import { type DrawingSize, details, drawings, jsonScript, nameHtml, table } from './page-parts.ts';
import { themed } from './theme-colours.ts';
import { farText } from './threshold-tables.ts';

/** With more lines than this, those of new models on their own galleries wait to be switched on, and so do bands. */
const MOST_LINES = 9;

/** Every figure for which there are curves: drawn, with a cursor that reads values off all lines, and as a table. */
export function curveSections(runs: readonly NamedEvaluation[]): string[] {
  return figureKinds.flatMap((kind) => {
    // of a set of a few images a curve may have no point that a logarithmic axis shows
    const lines = figureLines(kind, runs).filter(({ curve }) => curve.x.some((x) => x > 0));
    return lines.length > 0 ? [curveSection(kind, lines, runs)] : [];
  });
}

function curveSection(kind: FigureKind, lines: readonly TestLine[], runs: readonly NamedEvaluation[]): string {
  const roles = new Map(runs.flatMap(({ evaluation }) => evaluation.models.map(({ name, role }) => [name, role])));
  const many = lines.length > MOST_LINES;
  const shown = lines.map(({ test }) => !many || test.query !== test.gallery || roles.get(test.query) !== 'new');
  const xs = lines[0]!.curve.x.filter((x) => x > 0);
  const own = (x: readonly number[]): boolean => x.length !== lines[0]!.curve.x.length || x.some((at, i) => at !== lines[0]!.curve.x[i]); // biome-ignore format: short
  const start = nearest(xs, kind.start);
  const text = (x: number): string => (kind.scale.x === 'log' ? farText(x) : `${x}`);
  const at = `${kind.at} ${text(xs[start]!)}`;
  const series = lines.map(({ curve: { x, y, band } }) => ({
    ...(own(x) && { x }),
    y: own(x) ? y : y.slice(y.length - xs.length),
    ...(band && { band }),
  }));
  const row = ({ label, look, curve }: TestLine, i: number): string => {
    const { colour, symbol, dashed } = themed(look);
    const sample = `<svg class="sample" viewBox="0 0 30 12" aria-hidden="true"><line x1="0" x2="30" y1="6" y2="6" stroke="${colour}" stroke-width="2.5"${dashed ? ' stroke-dasharray="6 4"' : ''}/>${symbol === null ? '' : `<circle cx="15" cy="6" r="3.5" fill="var(--page)" stroke="${colour}"/>`}</svg>`;
    const interval = intervalAt(curve.band, xs[start]!);
    return `<tr style="--series:${colour}"><th scope="row"><label><input type="checkbox"${shown[i] ? ' checked' : ''}>${sample}${nameHtml(label)}</label></th><td>${percent(valueAt(curve, xs[start]!) ?? Number.NaN)}</td><td>${interval}</td></tr>`;
  };
  const ticks = kind.ticks.filter((tick) => xs.some((x) => same(x, tick)));
  return `<section class="figure${many ? ' no-bands' : ''}" data-curves aria-labelledby="figure-${kind.name}">
<h3 id="figure-${kind.name}">${htmlText(kind.title)}</h3>
${jsonScript({ at: kind.at, log: kind.scale.x === 'log', x: xs, lines: series })}
<div class="read">
<div class="drawing">
${drawings(`${kind.title}, ${kind.y} over ${kind.x}; the table beside it has the values`, (size) => drawing(kind, lines, shown, size))}
<label class="cursor-label scripted-only"><span class="at">${at}</span><input type="range" min="0" max="${xs.length - 1}" value="${start}" aria-label="${htmlText(`${kind.at} at which the values of ${kind.title} are read`)}" aria-valuetext="${at}"></label>
</div>
<div class="wide" tabindex="0" role="group" aria-label="${htmlText(`values of ${kind.title}`)}">
<table class="lines"><caption>${linkedTerm(kind.value)} in percent at <span class="at">${at}</span></caption>
<thead><tr><th scope="col">${linkedTerm('query → gallery')}</th><th scope="col">${linkedTerm(kind.value)}</th><th scope="col">${linkedTerm('95 %')}</th></tr></thead>
<tbody>
${lines.map(row).join('\n')}
</tbody></table>
${lines.some(({ curve }) => curve.band) ? `<label class="bands scripted-only"><input type="checkbox"${many ? '' : ' checked'}> bands of 95 %</label>` : ''}
</div>
</div>
${details(
  'As a table',
  table(
    ['query → gallery', ...ticks.map((tick) => `${kind.at} ${text(tick)}`)],
    lines.map(({ label, curve }) => [label, ...ticks.map((tick) => percent(valueAt(curve, tick) ?? Number.NaN))]),
    { caption: `${kind.value} in percent` },
  ),
)}
</section>`;
}

const same = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * b;
const nearest = (xs: readonly number[], wanted: number): number =>
  xs.reduce((best, x, i) => (Math.abs(Math.log(x / wanted)) < Math.abs(Math.log(xs[best]! / wanted)) ? i : best), 0);
const valueAt = ({ x, y }: TestLine['curve'], at: number): number | undefined => y[x.findIndex((other) => same(other, at))]; // biome-ignore format: short

function intervalAt(band: TestLine['curve']['band'], at: number): string {
  const i = band ? band.x.findIndex((x) => same(x, at)) : -1;
  return i < 0 ? '–' : `[${percent(band!.low[i]!)}, ${percent(band!.high[i]!)}]`;
}

function drawing(
  kind: FigureKind,
  lines: readonly TestLine[],
  shown: readonly boolean[],
  { width, name }: DrawingSize,
) {
  const height = name === 'broad' ? 400 : 300;
  const margin = name === 'broad'
    ? { marginLeft: 50, marginRight: 16, marginTop: 24, marginBottom: 44 }
    : { marginLeft: 40, marginRight: 10, marginTop: 22, marginBottom: 42 }; // biome-ignore format: short
  const drawn = lines.map((line) => {
    const { band, ...rest } = drawnLine(line, kind);
    const crosses = line.test.query === line.test.gallery && !line.look.dashed;
    return { ...rest, look: themed(line.look), ...(band && (crosses || line.test.query !== line.test.gallery) && { band }) }; // biome-ignore format: short
  });
  const scales = figureScales(kind, drawn);
  const { x, y } = scales;
  const domain = (scale: { readonly domain: readonly [number, number] | readonly number[] }): string => scale.domain.join(' '); // biome-ignore format: short
  const few = name === 'narrow' && 'ticks' in y ? { ticks: y.ticks.filter((_, i) => i % 2 === 0) } : {};
  return {
    height,
    content: plot({
      width,
      height,
      ...margin,
      x: { ...x, labelOffset: 36 },
      y: { ...axis, ...y, ...few, ...(name === 'narrow' && kind.scale.y !== 'log' && { ticks: 5 }) },
      marks: drawn.flatMap((line, nth) =>
        lineMarks(line, nth, {
          background: 'var(--page)',
          classOf: (part) => `l${nth}${part === 'band' ? ' band' : ''}${shown[nth] ? '' : ' off'}`,
        }),
      ),
    }),
    attributes: ` data-x="${kind.scale.x === 'share' ? 'linear' : 'log'} ${domain(x)} ${margin.marginLeft} ${width - margin.marginRight}" data-y="${kind.scale.y === 'log' ? 'log' : 'linear'} ${domain(y)} ${height - margin.marginBottom} ${margin.marginTop}"`,
  };
}
