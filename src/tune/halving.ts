/** A trial in a comparison; a trial that failed scores -Infinity. */
export type Scored = { readonly trial: number; readonly score: number };

/** The first round trains for this part of the epochs. */
const FIRST = 4;

/** Epochs of each round: a quarter of the recipe's, half, and all of them. */
export const roundsOf = (epochs: number): number[] => [
  ...new Set([FIRST, 2, 1].map((parts) => Math.ceil(epochs / parts))),
];

/** The fewest epochs of a recipe whose first round is at least `first` epochs long. */
export const epochsForFirstRound = (first: number): number => FIRST * (Math.ceil(first) - 1) + 1;

/** Best first; of equal scores the earlier trial. */
export const ranked = <T extends Scored>(scored: readonly T[]): T[] =>
  [...scored].sort((a, b) => (a.score === b.score ? a.trial - b.trial : b.score - a.score));

/**
 * The better half of the trials, rounded up, and those that tie with its last: they go on to the next round. Trials tie exactly where no
 * option that differs acts yet, such as those of UniBCT's term before `startEpoch`.
 */
export function betterHalf(scored: readonly Scored[]): number[] {
  const order = ranked(scored);
  const least = order[Math.ceil(order.length / 2) - 1]!.score;
  return order.filter(({ score }) => score >= least).map(({ trial }) => trial);
}
