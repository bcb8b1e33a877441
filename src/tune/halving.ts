/** A trial in a comparison; a trial that failed scores -Infinity. */
export type Scored = { readonly trial: number; readonly score: number };

/** Epochs of each round: a quarter of the recipe's, half, and all of them. */
export const roundsOf = (epochs: number): number[] => [...new Set([4, 2, 1].map((parts) => Math.ceil(epochs / parts)))];

/** Best first; of equal scores the earlier trial. */
export const ranked = <T extends Scored>(scored: readonly T[]): T[] =>
  [...scored].sort((a, b) => (a.score === b.score ? a.trial - b.trial : b.score - a.score));

/** The better half of the trials, rounded up: they go on to the next round. */
export const betterHalf = (scored: readonly Scored[]): number[] =>
  ranked(scored)
    .slice(0, Math.ceil(scored.length / 2))
    .map(({ trial }) => trial);
