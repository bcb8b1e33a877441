import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import type { Evaluation, TestResult } from '../eval/index.ts';
import { seriesTables } from './series.ts';
import {
  glossary,
  judgementColumns,
  judgementRow,
  presetLines,
  protocolText,
  testColumns,
  testRow,
  verdict,
} from './words.ts';

/** The report as one HTML file: styles and curves are inside, nothing is fetched. */
export function renderHtml(evaluation: Evaluation): string {
  const candidates = evaluation.candidates.map(
    ({ name, comparisons }) =>
      `<h2>Can ${htmlText(name)} serve the old gallery?</h2>\n<p class="verdict">${htmlText(verdict(name, comparisons))}.</p>\n${table(judgementColumns, comparisons.map(judgementRow))}`,
  );
  const roc = evaluation.tests.flatMap((test) =>
    test.verification.curve.far.map((x, i) => ({ test: nameOf(test), x, y: test.verification.curve.tar[i]! })),
  );
  const identification = evaluation.tests.flatMap((test) =>
    test.identification.curve.fpir.map((x, i) => ({ test: nameOf(test), x, y: test.identification.curve.tpir[i]! })),
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${htmlText(evaluation.title)}</title>
<style>${style}</style>
</head>
<body>
<h1>${htmlText(evaluation.title)}</h1>
<p>${htmlText(protocolText(evaluation))}</p>
${
  evaluation.candidates.length > 1
    ? seriesTables([evaluation])
        .map(({ title, header, rows }) => `<h2>${htmlText(title)}</h2>\n${table(header, rows)}`)
        .join('\n')
    : ''
}
${candidates.join('\n')}
<h2>All tests</h2>
${table(testColumns, evaluation.tests.map(testRow))}
<h2>Verification: ROC</h2>
${chart(evaluation, roc, { x: 'false accept rate (FAR)', y: 'true accept rate (TAR)' })}
<h2>Identification: TPIR over FPIR</h2>
${chart(evaluation, identification, { x: 'false positive identification rate (FPIR)', y: 'true positive identification rate (TPIR)' })}
<h2>What the words mean</h2>
<p>All numbers are percent.</p>
<dl>${glossary.map(([term, meaning]) => `<dt>${htmlText(term)}</dt><dd>${htmlText(meaning)}</dd>`).join('\n')}</dl>
<h2>Where the runs differ from the reference</h2>
<dl>${presetLines(evaluation)
    .map(([name, text]) => `<dt>${htmlText(name)}</dt><dd>${htmlText(text)}</dd>`)
    .join('\n')}</dl>
<p class="small">${htmlText(`dataset ${evaluation.dataset.path}, digest ${evaluation.dataset.digest}`)}</p>
</body>
</html>
`;
}

const nameOf = ({ query, gallery }: TestResult): string => `${query} → ${gallery}`;

type Point = { readonly test: string; readonly x: number; readonly y: number };

function chart(
  evaluation: Evaluation,
  points: readonly Point[],
  axes: { readonly x: string; readonly y: string },
): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const figure = Plot.plot({
    document,
    width: 860,
    height: 420,
    marginRight: 20,
    x: { type: 'log', label: axes.x, grid: true, tickFormat: (x: number) => `1e${Math.round(Math.log10(x))}` },
    y: { domain: [0, 1], label: axes.y, grid: true },
    color: { legend: true, domain: evaluation.tests.map(nameOf), scheme: 'Tableau10' },
    marks: [Plot.line(points, { x: 'x', y: 'y', stroke: 'test', strokeWidth: 1.75 })],
  });
  return figure.outerHTML;
}

const htmlText = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: 'th' | 'td'): string =>
    `<tr>${cells.map((cell) => `<${tag}>${htmlText(cell)}</${tag}>`).join('')}</tr>`;
  return `<div class="wide"><table>\n${line(header, 'th')}\n${rows.map((row) => line(row, 'td')).join('\n')}\n</table></div>`;
}

const style = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.verdict { font-weight: 600; } .small { color: #666; font-size: .85em; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; }
`;
