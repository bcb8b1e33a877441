import { join } from 'node:path';
import { Rng } from '../src/base/rng.ts';
import { writeFeatureSet } from '../src/features/index.ts';

/** D of the sets. */
export const DIM = 128;
/** Noise of the two models around the centre of a class. */
const NOISE = { old: 1.4, new: 1.1 };
/** Rows made at a time. */
const BLOCK = 4096;

/** Feature sets `old` and `new` in the folder, rows around the centres of their classes. */
export async function writeSyntheticSets(folder: string, labels: Int32Array, classes: number): Promise<void> {
  const families = new Int32Array(labels.length).fill(-1);
  const content = { dim: DIM, classes, model: null, dataset: null, flip: 'none' as const, labels, families };
  for (const name of ['old', 'new'] as const)
    await writeFeatureSet(join(folder, name), content, {}, ({ append }) => {
      for (let from = 0; from < labels.length; from += BLOCK)
        append(embeddings(labels.subarray(from, Math.min(labels.length, from + BLOCK)), name, from));
    });
}

/** A direction for each class, and noise of each model's own. */
function embeddings(labels: Int32Array, model: keyof typeof NOISE, from: number): Float32Array {
  const noise = new Rng(model).split(from);
  const rows = new Float32Array(labels.length * DIM);
  for (const [i, label] of labels.entries()) {
    const centre = new Rng('centre').split(label);
    for (let d = 0; d < DIM; d++) rows[i * DIM + d] = centre.uniform() - 0.5 + NOISE[model] * (noise.uniform() - 0.5);
  }
  return rows;
}
