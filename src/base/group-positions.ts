/** Positions by group: those of group g are `order[starts[g] … starts[g + 1] - 1]`, ascending. */
export type GroupedPositions = { readonly order: Int32Array; readonly starts: Int32Array };

/** Sorts positions 0 … N-1 by their group 0 … G-1 in N + G steps. Positions of group -1 are left out. */
export function groupPositions(count: number, groups: number, groupOf: (position: number) => number): GroupedPositions {
  const starts = new Int32Array(groups + 1);
  for (let i = 0; i < count; i++) {
    const group = groupOf(i);
    if (group >= 0) starts[group + 1]!++;
  }
  for (let group = 0; group < groups; group++) starts[group + 1]! += starts[group]!;
  const [next, order] = [starts.slice(), new Int32Array(starts[groups]!)];
  for (let i = 0; i < count; i++) {
    const group = groupOf(i);
    if (group >= 0) order[next[group]!++] = i;
  }
  return { order, starts };
}
