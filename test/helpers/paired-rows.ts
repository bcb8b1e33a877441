import type { Rng } from '../../src/base/rng.ts';

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
