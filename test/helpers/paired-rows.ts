import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Rng } from '../../src/base/rng.ts';
import { foreignNpy } from './foreign.ts';

const [CLASSES, IMAGES, DIM] = [40, 6, 8];
const labels = Array.from({ length: CLASSES * IMAGES }, (_, i) => Math.floor(i / IMAGES));

/** Writes two-labels.npy and embeddings of the same images by two models: first.npy, which sees badly, and second.npy. */
export function writeTwoModels(folder: string): void {
  const centres = unitRows(CLASSES, DIM, new Rng('centres'));
  for (const [name, noise] of [
    ['first', 2],
    ['second', 0.1],
  ] as const) {
    const rows = unitRows(labels.length, DIM, new Rng(name)).map(
      (value, i) => centres[labels[Math.floor(i / DIM)]! * DIM + (i % DIM)]! + noise * value,
    );
    writeFileSync(join(folder, `${name}.npy`), foreignNpy('<f4', [labels.length, DIM], Array.from(rows)));
  }
  writeFileSync(join(folder, 'two-labels.npy'), foreignNpy('<i4', [labels.length], labels));
}

/** Rows of length 1 that point anywhere, flat [N · D]. */
export function unitRows(count: number, dim: number, rng: Rng): Float32Array {
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - rng.uniform())) * Math.cos(2 * Math.PI * rng.uniform());
  const rows = Float32Array.from({ length: count * dim }, normal);
  for (let from = 0; from < rows.length; from += dim) {
    const row = rows.subarray(from, from + dim);
    const length = Math.hypot(...row);
    for (const d of row.keys()) row[d]! /= length;
  }
  return rows;
}
