import * as Plot from '@observablehq/plot';
import { figureScales, lineMarks, plot, stroke, symbols } from './chart.ts';
import {
  type Axes,
  drawnLine,
  type FigureName,
  figureKinds,
  figureLines,
  type Line,
  type NamedEvaluation,
} from './curve-lines.ts';
import { htmlText } from './format.ts';

/** A complete SVG document with background, fonts and legend. */
export type Figure = { readonly name: FigureName; readonly title: string; readonly svg: string };

/** The figures for which there are curves, each with the tests of all evaluations. */
export function figures(runs: readonly NamedEvaluation[]): Figure[] {
  return figureKinds.flatMap((kind) => {
    const lines = figureLines(kind, runs)
      .map((line) => drawnLine(line, kind))
      .filter(({ points }) => points.length > 0)
      .map(({ band: _, ...line }) => line);
    return lines.length > 0 ? [{ name: kind.name, title: kind.title, svg: drawFigure(kind, lines) }] : [];
  });
}

const FONT = 'Helvetica, Arial, DejaVu Sans, sans-serif';
const [WIDTH, HEIGHT, TITLE, SIZE] = [860, 448, 34, 12];
const margin = { marginLeft: 64, marginRight: 24, marginTop: 26, marginBottom: 52 };

/** Draws lines as an SVG document with background, fonts and legend. */
export function drawFigure(axes: Axes, lines: readonly Line[]): string {
  const { title } = axes;
  const chart = plot({
    width: WIDTH,
    height: HEIGHT,
    ...margin,
    ...figureScales(axes, lines),
    marks: lines.flatMap((line, nth) => lineMarks(line, nth)),
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
          ...symbols(look, [{ x: left + SAMPLE / 2, y }], 'white'),
        ]),
        Plot.text(entries, { x: ({ left }) => left + SAMPLE + GAP, y: 'y', text: 'label', textAnchor: 'start' }),
      ],
    }),
  };
}
