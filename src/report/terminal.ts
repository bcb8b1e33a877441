import colors from 'picocolors';
import type { BackfillSimulation } from '../backfill/simulation.ts';
import type { Evaluation } from '../eval/index.ts';
import type { PackResult } from '../eval/pack-accuracy-artifact.ts';
import { backfillGlossary, backfillProtocolText, firstBackfillTables, skippedText } from './backfill-tables.ts';
import type { NamedEvaluation } from './curve-lines.ts';
import { comparisonColumns, comparisonRow, evaluationWarnings, glossary, protocolText, testTable } from './format.ts';
import { protocolTables } from './protocol-tables.ts';
import { sideBySideTables } from './side-by-side-tables.ts';
import { summaryTables, type TitledTable } from './summary-tables.ts';
import { calibrationTables, gradeTables, thresholdTables } from './threshold-tables.ts';
import { verdict } from './verdict.ts';

/** More new models than this share one table instead of one each. */
const MAX_DETAILED_MODELS = 3;

/** Tables that show several evaluations side by side. */
export const renderSummary = (runs: readonly NamedEvaluation[]): string =>
  sideBySideTables(runs).map(titled).join('\n\n');

const titled = ({ title, header, rows }: TitledTable): string => `${colors.bold(title)}\n${textTable(header, rows)}`;

/** Thresholds and calibrations of evaluations, each under its title. */
export const renderThresholds = (evaluations: readonly Evaluation[]): string =>
  evaluations
    .map((evaluation) =>
      [
        colors.bold(evaluation.title),
        ...[...thresholdTables(evaluation), ...gradeTables([evaluation]), ...calibrationTables(evaluation)].map(titled),
      ].join('\n\n'),
    )
    .join('\n\n');

/** The report for a terminal: the tests, then a comparison of each new model with the old one. */
export function renderTerminal(evaluation: Evaluation): string {
  const tests = testTable(evaluation.tests);
  const parts = [
    colors.bold(evaluation.title),
    wrap(protocolText(evaluation)),
    textTable(tests.header, tests.rows),
    ...[...protocolTables(evaluation), ...thresholdTables(evaluation)].map(titled),
    ...evaluationWarnings(evaluation).map((text) => colors.yellow(wrap(text))),
  ];
  const many = evaluation.candidates.length > MAX_DETAILED_MODELS;
  if (many) parts.push(...[...summaryTables([evaluation]), ...gradeTables([evaluation])].map(titled));
  for (const candidate of evaluation.candidates) {
    const { name, comparisons } = candidate;
    if (!many)
      parts.push(
        `${colors.bold(`Can ${name} serve the old gallery?`)}\n${textTable(comparisonColumns, comparisons.map(comparisonRow))}`,
      );
    const paint = comparisons.some(({ criterion }) => criterion === 'missed')
      ? colors.red
      : comparisons.some(({ criterion }) => criterion === 'met')
        ? colors.green
        : colors.yellow;
    parts.push(paint(wrap(verdict(evaluation, candidate))));
  }
  parts.push(
    colors.dim(
      `percent; ${glossary
        .filter(([term]) => term === 'criterion' || term === 'drop-in' || term === 'update gain' || term === 'tax')
        .map(([term, meaning]) => wrap(`${term}: ${meaning}`))
        .join('\n')}`,
    ),
  );
  return `\n${parts.join('\n\n')}\n`;
}

/** What models reach on verification packs, as a table. */
export function renderAccuracies(results: readonly PackResult[]): string {
  const percent = (x: number): string => (100 * x).toFixed(2);
  const rows = results.map(({ pack, query, gallery, mean, std, meanNorm, zeros }) => [
    pack,
    `${query} → ${gallery}`,
    `${percent(mean)} ± ${percent(std)}`,
    meanNorm.toFixed(2),
    `${zeros}`,
  ]);
  return textTable(['pack', 'query → gallery', 'accuracy ± std', 'mean norm', 'zeros'], rows);
}

/** A simulated backfill for a terminal. */
export const renderBackfillTerminal = (simulation: BackfillSimulation): string =>
  `\n${[
    colors.bold(simulation.title),
    wrap(backfillProtocolText(simulation)),
    ...firstBackfillTables(simulation).map(titled),
    ...skippedText(simulation).map((text) => colors.yellow(wrap(text))),
    colors.dim(`percent; ${backfillGlossary.map(([term, meaning]) => wrap(`${term}: ${meaning}`)).join('\n')}`),
  ].join('\n\n')}\n`;

/** A table of text. The first column is aligned left, the others right. */
export function textTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  return [colors.dim(line(header)), ...rows.map(line)].join('\n');
}

/** Columns of a line of text. */
const LINE_WIDTH = 110;

export function wrap(text: string): string {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    if (lines.at(-1)!.length + word.length + 1 > LINE_WIDTH) lines.push('');
    lines[lines.length - 1] += `${lines.at(-1) ? ' ' : ''}${word}`;
  }
  return lines.join('\n');
}
