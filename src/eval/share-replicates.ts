import { firstIndexWhere } from './binary-search.ts';
import type { Resamples } from './bootstrap.ts';
import type { Measured } from './evaluation.ts';

/** Share of scores above `threshold`, also in each resample of clusters. */
export function shareAbove(scores: Float64Array, threshold: number, cluster: Int32Array, drawn: Resamples): Measured {
  const least = scores.reduce((low, x) => (x > threshold && x < low ? x : low), Number.POSITIVE_INFINITY);
  return {
    value: scores.reduce((sum, x) => sum + Number(x > threshold), 0) / scores.length,
    replicates: shareReplicates(scores, [least], cluster, drawn)[0]!,
  };
}

/** Share of scores that reach each threshold, in each resample of clusters. → [R] for each threshold */
export function shareReplicates(
  scores: Float64Array,
  thresholds: readonly number[],
  cluster: Int32Array,
  drawn: Resamples,
): Float64Array[] {
  const falling = [...thresholds].sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
  const reached = Int32Array.from(scores, (score) => firstIndexWhere(falling.length, (i) => score >= falling[i]!));
  const shares = falling.map(() => new Float64Array(drawn.length));
  for (const [r, weights] of drawn.entries()) {
    const reaching = new Float64Array(falling.length + 1);
    for (let k = 0; k < scores.length; k++) reaching[reached[k]!]! += weights[cluster[k]!]!;
    const all = reaching.reduce((sum, weight) => sum + weight, 0);
    let accepted = 0;
    for (const [i, share] of shares.entries()) {
      accepted += reaching[i]!;
      share[r] = accepted / all;
    }
  }
  return thresholds.map((threshold) => shares[falling.indexOf(threshold)]!);
}
