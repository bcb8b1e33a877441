import { writeAtomic } from '../artifacts/durable-write.ts';
import { readEvaluation } from '../eval/evaluation-artifact.ts';
import type { Evaluation } from '../eval/index.ts';
import { thresholdsOf } from '../eval/thresholds.ts';
import type { Thresholds } from '../eval/thresholds-schema.ts';
import { reportFiles } from '../report/report-files.ts';
import { requireFile } from './reports.ts';

export type ThresholdsOptions = {
  /** File to write. */
  readonly out?: string;
  readonly force?: boolean;
};

/**
 * Reads the thresholds and calibrations of evaluations, and writes them as one JSON file if a place is given.
 * @throws UserError if an evaluation has none, or something else stands at the place.
 */
export function writeThresholds(
  paths: readonly string[],
  { out, force = false }: ThresholdsOptions,
): { readonly evaluations: readonly Evaluation[]; readonly thresholds: Thresholds } {
  const read = paths.map((path) => ({ path, evaluation: readEvaluation(path) }));
  const thresholds = thresholdsOf(read);
  if (out !== undefined) {
    requireFile(out, reportFiles.thresholds, { force, inputs: paths });
    writeAtomic(out, `${JSON.stringify(thresholds, null, 2)}\n`);
  }
  return { evaluations: read.map(({ evaluation }) => evaluation), thresholds };
}
