import type { Evaluation } from '../eval/index.ts';
import { figures, type NamedEvaluation } from './curves.ts';
import {
  comparisonColumns,
  comparisonRow,
  evaluationWarnings,
  glossary,
  htmlText,
  presetLines,
  protocolText,
  testTable,
} from './format.ts';
import { protocolTables } from './protocol-tables.ts';
import { summaryTables, type TitledTable } from './summary-tables.ts';
import { gradeTables, thresholdTables } from './threshold-tables.ts';
import { verdict } from './verdict.ts';

/** The report as one HTML file that contains its styles and curves and loads nothing. */
export function renderHtml(evaluation: Evaluation): string {
  const tests = testTable(evaluation.tests);
  return page(evaluation.title, [
    `<p>${htmlText(protocolText(evaluation))}</p>`,
    ...evaluationWarnings(evaluation).map((text) => `<p class="caution">${htmlText(text)}</p>`),
    ...(evaluation.candidates.length > 1 ? summarySections([evaluation]) : []),
    ...evaluation.candidates.map(
      (candidate) =>
        `<h2>Can ${htmlText(candidate.name)} serve the old gallery?</h2>\n<p class="verdict">${htmlText(verdict(evaluation, candidate))}.</p>\n${table(comparisonColumns, candidate.comparisons.map(comparisonRow))}`,
    ),
    `<h2>All tests</h2>\n${table(tests.header, tests.rows)}`,
    ...[...protocolTables(evaluation), ...thresholdTables(evaluation)].map(titledSection),
    ...figureSections([{ name: '', evaluation }]),
    ...glossarySection,
    '<h2>Where the runs differ from the reference</h2>',
    definitionList(presetLines(evaluation)),
    `<p class="small">${htmlText(datasetText(evaluation))}</p>`,
  ]);
}

/** Several evaluations on one page: their comparisons side by side, their curves in one figure. */
export function renderSummaryHtml(runs: readonly NamedEvaluation[]): string {
  const evaluations = runs.map(({ evaluation }) => evaluation);
  return page([...new Set(evaluations.map(({ title }) => title))].join(' · '), [
    ...summarySections(evaluations),
    ...figureSections(runs),
    ...glossarySection,
    '<h2>The evaluations</h2>',
    definitionList(
      runs.map(({ name, evaluation }) => [
        name,
        `${evaluation.title}. ${protocolText(evaluation)} ${datasetText(evaluation)}.`,
      ]),
    ),
  ]);
}

const datasetText = ({ dataset }: Evaluation): string => `dataset ${dataset.path}, digest ${dataset.digest}`;

/** A whole page with styles. `sections` are HTML. */
export const page = (title: string, sections: readonly string[]): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${htmlText(title)}</title>
<style>${style}</style>
</head>
<body>
<h1>${htmlText(title)}</h1>
${sections.join('\n')}
</body>
</html>
`;

const summarySections = (evaluations: readonly Evaluation[]): string[] =>
  [...summaryTables(evaluations), ...gradeTables(evaluations)].map(titledSection);

export const titledSection = ({ title, header, rows }: TitledTable): string =>
  `<h2>${htmlText(title)}</h2>\n${table(header, rows)}`;

const figureSections = (runs: readonly NamedEvaluation[]): string[] =>
  figures(runs).map(({ svg }) => `<figure>${svg}</figure>`);

export const definitionList = (entries: readonly (readonly [term: string, text: string])[]): string =>
  `<dl>${entries.map(([term, text]) => `<dt>${htmlText(term)}</dt><dd>${htmlText(text)}</dd>`).join('\n')}</dl>`;

const glossarySection: readonly string[] = [
  '<h2>What the words mean</h2>\n<p>All numbers are percent.</p>',
  definitionList(glossary),
];

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
.caution { border-left: 4px solid #b58900; padding-left: .8rem; }
figure { margin: 2rem 0; } svg { max-width: 100%; height: auto; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; }
`;
