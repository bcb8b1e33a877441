import { chanceOfRankOne, EVERY_PROTOCOL, type Metric } from './metric.ts';

/** Share of searches whose right entry is among the `k` most similar; verdicts use k = 1. */
export const rankK = (k: number): Metric => ({
  name: `rank-${k}`,
  term: 'rank-k',
  meaning: 'share of searches whose right entry is among the k most similar',
  column: `rank-${k}`,
  ...(k === 1 && { verdict: { protocols: EVERY_PROTOCOL, chance: chanceOfRankOne, summary: true } }),
  stored: ({ identification }) => identification?.ranks.find(({ rank }) => rank === k)?.rate,
  test: 'identification',
  measure: ({ meanOverProbes }) => meanOverProbes((rank) => (rank <= k ? 1 : 0)),
});
