import type { LabelledRows } from '../../src/features/class-blocks.ts';

/** Features that lie in memory, flat [N · D]. */
export const inMemory = (
  data: Float32Array,
  labels: readonly number[],
  dim: number,
  missing: ReadonlySet<number> = new Set(),
): LabelledRows => ({
  info: { dim, count: labels.length, classes: Math.max(...labels) + 1 },
  rows: (indices) =>
    Float32Array.from(Array.from(indices).flatMap((i) => Array.from(data.subarray(i * dim, (i + 1) * dim)))),
  labels: () => Int32Array.from(labels),
  missing: () => missing,
});
