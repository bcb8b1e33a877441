import type { Evaluation } from '../eval/index.ts';
import { glossary, judgementColumns, judgementRow, protocolText, testColumns, testRow, verdict } from './words.ts';

/** The report as Markdown: tables that a README or an issue can take in. */
export function renderMarkdown(evaluation: Evaluation): string {
  const candidates = evaluation.candidates.map(
    ({ name, comparisons }) =>
      `## Can ${markdownText(name)} serve the old gallery?\n\n${markdownText(verdict(name, comparisons))}.\n\n${table(judgementColumns, comparisons.map(judgementRow))}`,
  );
  const terms = glossary.map(([term, meaning]) => `* **${term}**: ${meaning}`).join('\n');
  return `# ${markdownText(evaluation.title)}\n\n${[markdownText(protocolText(evaluation)), table(testColumns, evaluation.tests.map(testRow)), ...candidates, `All numbers are percent.\n\n${terms}`].join('\n\n')}\n`;
}

const markdownText = (text: string): string => text.replace(/[|<>*_\\[\]`]/g, '\\$&');

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(markdownText).join(' | ')} |`;
  return [line(header), `|${header.map((_, i) => (i === 0 ? '---|' : '--:|')).join('')}`, ...rows.map(line)].join('\n');
}
