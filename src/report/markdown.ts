import type { Evaluation } from '../eval/index.ts';
import type { NamedEvaluation } from './curve-lines.ts';
import {
  comparisonColumns,
  comparisonRow,
  evaluationWarnings,
  glossary,
  presetLines,
  protocolText,
  testTable,
} from './format.ts';
import { protocolTables } from './protocol-tables.ts';
import { sideBySideTables } from './side-by-side-tables.ts';
import type { TitledTable } from './summary-tables.ts';
import { thresholdTables } from './threshold-tables.ts';
import { verdict } from './verdict.ts';

/** The report as Markdown, for a README or an issue. */
export function renderMarkdown(evaluation: Evaluation): string {
  const tests = testTable(evaluation.tests);
  const glance =
    evaluation.candidates.length > 1
      ? [`## All new models\n\n${renderSummaryMarkdown([{ name: '', evaluation }])}`]
      : [];
  const candidates = evaluation.candidates.map(
    (candidate) =>
      `## Can ${markdownText(candidate.name)} serve the old gallery?\n\n${markdownText(verdict(evaluation, candidate))}.\n\n${table(comparisonColumns, candidate.comparisons.map(comparisonRow))}`,
  );
  const presets = presetLines(evaluation).map(([name, text]) => `* **${markdownText(name)}**: ${markdownText(text)}`);
  const terms = glossary.map(([term, meaning]) => `* **${term}**: ${meaning}`).join('\n');
  return `# ${markdownText(evaluation.title)}\n\n${[markdownText(protocolText(evaluation)), table(tests.header, tests.rows), ...[...protocolTables(evaluation), ...thresholdTables(evaluation)].map(titled), ...evaluationWarnings(evaluation).map((text) => `**${markdownText(text)}**`), ...glance, ...candidates, `All numbers are percent.\n\n${terms}`, `## Where the runs differ from the reference\n\n${presets.join('\n')}`].join('\n\n')}\n`;
}

/** Tables that show several evaluations side by side. */
export const renderSummaryMarkdown = (runs: readonly NamedEvaluation[]): string =>
  sideBySideTables(runs).map(titled).join('\n\n');

const titled = ({ title, header, rows }: TitledTable): string => `**${markdownText(title)}**\n\n${table(header, rows)}`;

const markdownText = (text: string): string => text.replace(/[|<>*_\\[\]`]/g, '\\$&');

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(markdownText).join(' | ')} |`;
  return [line(header), `|${header.map((_, i) => (i === 0 ? '---|' : '--:|')).join('')}`, ...rows.map(line)].join('\n');
}
