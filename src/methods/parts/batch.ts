import {
  equalElements,
  mul,
  type ProcessGroup,
  scope,
  type Tensor,
  tensor,
  to,
  toNumbers,
  unsqueeze,
} from '../../torch/index.ts';
import { scaleGradient } from './gradient-scale.ts';

/** Gathers the `rows` that each process names in its `share` of the batch. → ascending positions in the whole batch */
export function gatherRows(rows: Int32Array, share: number, group: ProcessGroup): Int32Array {
  if (group.processes === 1) return rows;
  const named = new BigInt64Array(share);
  for (const row of rows) named[row] = 1n;
  const all = scope(() => toNumbers(group.gather(tensor(named))));
  return Int32Array.from(all.flatMap((is, row) => (is ? [row] : [])));
}

/** The rows of the whole batch that are in this process's share. → positions in the share */
export const localRows = (rows: readonly number[], { processes, rank }: ProcessGroup): number[] =>
  rows.filter((row) => row % processes === rank).map((row) => (row - rank) / processes);

/**
 * Rows of the whole batch, for terms in which each process compares its own samples with all: [b, D] → [W·b, D]. The gradient is
 * that of the mean over the whole batch, once gradients are averaged over the processes.
 */
export const gatherBatch = (rows: Tensor, group: ProcessGroup): Tensor =>
  group.processes === 1 ? rows : scaleGradient(group.gather(rows), 1 / group.processes);

/** Added to a cosine, takes its pair out of a sum of exponentials. */
export const NO_NEGATIVE = -1e9;

/** What takes the pairs of one class out of the comparison of this process's samples with the whole batch: labels [b] int64 → [b, W·b] */
export function withoutOwnClass(labels: Tensor, group: ProcessGroup): Tensor {
  const same = equalElements(unsqueeze(labels, 1), unsqueeze(group.gather(labels), 0));
  return mul(to(same, { dtype: 'float32' }), NO_NEGATIVE);
}
