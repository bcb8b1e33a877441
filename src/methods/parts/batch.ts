import { type ProcessGroup, scope, tensor, toNumbers } from '../../torch/index.ts';

/** Positions in the whole batch of the `rows` that each process names in its `share` of it, in order. */
export function rowsOfBatch(rows: Int32Array, share: number, group: ProcessGroup): Int32Array {
  if (group.processes === 1) return rows;
  const named = new BigInt64Array(share);
  for (const row of rows) named[row] = 1n;
  const all = scope(() => toNumbers(group.gather(tensor(named))));
  return Int32Array.from(all.flatMap((is, row) => (is ? [row] : [])));
}

/** Those of some rows of the whole batch that lie in this process's share, as positions there. */
export const rowsHere = (rows: readonly number[], { processes, rank }: ProcessGroup): number[] =>
  rows.filter((row) => row % processes === rank).map((row) => (row - rank) / processes);
