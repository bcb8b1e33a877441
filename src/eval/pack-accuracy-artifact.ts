import { join } from 'node:path';
import { checkedByShape, defineArtifact } from '../artifacts/define-artifact.ts';
import { readJson } from '../artifacts/json-file.ts';
import { FileError } from '../base/errors.ts';
import { Optional, shapeMismatch } from '../base/shape.ts';
import type { FoldedAccuracy } from './pack-accuracy.ts';

/** One model's queries, the second picture of each pair, on one model's gallery, the first. */
export type PackResult = FoldedAccuracy & {
  readonly pack: string;
  readonly query: string;
  readonly gallery: string;
  /** Mean length of an embedding of the query's model: XNorm in the reference's logs. */
  readonly meanNorm: number;
  /** Embeddings of the query's model that are zeros: their pairs count as answered wrong. */
  readonly zeros: number;
};

/** Accuracies on verification packs: a list of `PackResult` beside the manifest. */
export const packAccuracyArtifact = defineArtifact({
  kind: 'pack-accuracy',
  name: 'pack accuracies',
  command: 'mixbct evaluate pack',
  check: checkedByShape<object>({}),
  describe: (_, path) => ({
    facts: Object.fromEntries(
      readPackAccuracies(path).map(({ pack, query, gallery, mean, std }) => [
        `${pack}: ${query === gallery ? query : `${query} on ${gallery}`}`,
        `${(100 * mean).toFixed(2)} ± ${(100 * std).toFixed(2)} %`,
      ]),
    ),
    sources: [],
  }),
});

export const packAccuracyFile = (folder: string): string => join(folder, 'accuracy.json');

/** @throws FileError if the folder holds none, or they are damaged. */
export function readPackAccuracies(folder: string): readonly PackResult[] {
  const file = packAccuracyFile(folder);
  const raw = readJson(file, packAccuracyArtifact.again);
  const problem = shapeMismatch(raw, [
    { pack: '', query: '', gallery: '', mean: 0, std: 0, thresholds: new Optional([0]) },
  ]);
  if (problem) throw new FileError(file, `its ${problem}`, packAccuracyArtifact.again);
  return raw as readonly PackResult[];
}
