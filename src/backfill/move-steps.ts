/** Shares 0, 1 / steps, …, 1. */
export const sharesOf = (steps: number): number[] => Array.from({ length: steps + 1 }, (_, i) => i / steps);

/**
 * The step from which on each member of a gallery counts as moved: at step s the first round(share[s] · n) of the order are.
 * `rank` [n] is each member's place in the order. → [n], 1 … steps
 */
export function moveSteps(rank: Int32Array, shares: readonly number[]): Uint16Array {
  const stepOfRank = new Uint16Array(rank.length);
  let from = 0;
  for (const [step, share] of shares.entries()) {
    const moved = Math.round(share * rank.length);
    stepOfRank.fill(step, from, moved);
    from = Math.max(from, moved);
  }
  return Uint16Array.from(rank, (at) => stepOfRank[at]!);
}

/** Places of `members` in an order of rows, counted among themselves. order [N], members [n] rows → [n] */
export function ranksOf(members: Int32Array, order: Int32Array, rowCount: number): Int32Array {
  const memberOf = new Int32Array(rowCount).fill(-1);
  for (const [i, row] of members.entries()) memberOf[row] = i;
  const rank = new Int32Array(members.length);
  let next = 0;
  for (const row of order) if (memberOf[row]! >= 0) rank[memberOf[row]!] = next++;
  return rank;
}
