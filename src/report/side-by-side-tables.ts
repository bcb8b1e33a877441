import type { NamedEvaluation } from './curve-lines.ts';
import { testTable } from './format.ts';
import { summaryTables, type TitledTable } from './summary-tables.ts';
import { gradeTables } from './threshold-tables.ts';

/** The tables that show several evaluations side by side: a row for each new model, and the tests of evaluations without one. */
export function sideBySideTables(runs: readonly NamedEvaluation[]): TitledTable[] {
  const evaluations = runs.map(({ evaluation }) => evaluation);
  return [...summaryTables(evaluations), ...gradeTables(evaluations), ...unjudgedTables(runs)];
}

const unjudgedTables = (runs: readonly NamedEvaluation[]): TitledTable[] =>
  runs
    .filter(({ evaluation }) => evaluation.candidates.length === 0)
    .map(({ name, evaluation }) => ({ title: `${name}: ${evaluation.title}`, ...testTable(evaluation.tests) }));
