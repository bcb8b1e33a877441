import { join } from 'node:path';
import { writeJson } from '../../src/artifacts/json-file.ts';
import { Rng } from '../../src/base/rng.ts';
import { EVALUATION_FILE, evaluationArtifact } from '../../src/eval/evaluation-artifact.ts';
import { type EvaluateOptions, type Evaluation, evaluate, withholdVerdicts } from '../../src/eval/index.ts';
import { unitRows } from './paired-rows.ts';

/** A small evaluation set: enough identities for a verdict. */
export const upgradeSet = { classes: 120, images: 6, dim: 16 } as const;
const { classes, images, dim } = upgradeSet;
const count = classes * images;
export const upgradeLabels = Int32Array.from({ length: count }, (_, i) => Math.floor(i / images));

/** Embeddings around a direction for each class: `noise` says how far, `space` which directions. Flat [N · D] */
export function seenWith(noise: number, { space = 'old', seed = 'new' } = {}): Float32Array {
  const centres = unitRows(classes, dim, new Rng(space));
  return unitRows(count, dim, new Rng(seed)).map(
    (value, i) => centres[upgradeLabels[Math.floor(i / dim)]! * dim + (i % dim)]! + noise * value,
  );
}

/** The dimensions in another order and with other signs: a rotation that no model is trained to undo. */
export const rotated = (rows: Float32Array, by = 5): Float32Array =>
  rows.map((_, i) => {
    const [row, d] = [Math.floor(i / dim), i % dim];
    return (d % 2 === 0 ? 1 : -1) * rows[row * dim + ((d + by) % dim)]!;
  });

export const OLD_NOISE = 1;
const oldRows = (): Float32Array => seenWith(OLD_NOISE, { seed: 'old' });

/** New models of an upgrade, by what an evaluation should find of them. */
export const newModels = {
  /** Compatible, and better: on the old gallery by some points, on its own by many. */
  compatible: () => ({ name: 'compatible', rows: seenWith(0.3), dim }),
  /** Better on its own, and alien to the old gallery. */
  alien: () => ({ name: 'alien', rows: rotated(seenWith(0.2)), dim }),
  /** The old model once more. */
  same: () => ({ name: 'same', rows: oldRows(), dim }),
  /** As good as the old one, by other noise: nothing can be told. */
  equal: () => ({ name: 'equal', rows: seenWith(OLD_NOISE, { seed: 'equal' }), dim }),
  /** The alien one through a map of its queries. */
  bridged: () => ({
    ...newModels.alien(),
    name: 'bridged',
    inOldSpace: { rows: seenWith(0.2), dim },
    adapter: { direction: 'query', method: 'procrustes', digest: 'q' } as const,
  }),
  /** The alien one with a map of the gallery. */
  swapped: () => ({
    ...newModels.alien(),
    name: 'swapped',
    oldGallery: { rows: rotated(oldRows()), dim },
    adapter: { direction: 'gallery', method: 'procrustes', digest: 'g' } as const,
  }),
} as const;

/** An evaluation of new models against the old one. */
export const judgeModels = (
  candidates: readonly (keyof typeof newModels)[],
  { trial, ...changes }: Partial<EvaluateOptions> & { readonly trial?: boolean } = {},
): Evaluation =>
  withholdVerdicts(
    evaluate({
      title: 'an upgrade',
      dataset: { path: 'set', digest: 'digest of the set' },
      old: { name: 'old', rows: oldRows(), dim },
      candidates: candidates.map((name) => newModels[name]()),
      labels: upgradeLabels,
      families: new Int32Array(count).fill(-1),
      resamples: 100,
      ...changes,
    }),
    { trial },
  );

/** Writes an evaluation as `mixbct evaluate` does, without its reports. */
export const writeEvaluation = (folder: string, evaluation: Evaluation): Promise<unknown> =>
  evaluationArtifact.write(folder, {}, (directory) => {
    writeJson(join(directory, EVALUATION_FILE), evaluation);
    return { seed: evaluation.protocol.seed };
  });
