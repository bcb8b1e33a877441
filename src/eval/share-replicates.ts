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
  const groups = groupScores(scores, cluster, drawn[0]?.length ?? 0, falling);
  const shares = falling.map(() => new Float64Array(drawn.length));
  for (const [r, weights] of drawn.entries()) {
    const reaching = new Float64Array(falling.length + 1);
    addWeights(reaching, groups, weights);
    const all = reaching.reduce((sum, weight) => sum + weight, 0);
    let accepted = 0;
    for (const [i, share] of shares.entries()) {
      accepted += reaching[i]!;
      share[r] = accepted / all;
    }
  }
  return thresholds.map((threshold) => shares[falling.indexOf(threshold)]!);
}

/** How many scores of a cluster reach `threshold`, but none above it, by its number; the last one is none. */
type ScoreGroups = { readonly cluster: Int32Array; readonly threshold: Int32Array; readonly count: Float64Array };

/** The scores, of which resamples see no more than this. */
function groupScores(
  scores: Float64Array,
  cluster: Int32Array,
  clusters: number,
  falling: readonly number[],
): ScoreGroups {
  const counts = new Float64Array(clusters * (falling.length + 1));
  for (let k = 0; k < scores.length; k++) {
    const reached = firstIndexWhere(falling.length, (i) => scores[k]! >= falling[i]!);
    counts[reached * clusters + cluster[k]!]!++;
  }
  const cells = Int32Array.from(counts.keys()).filter((cell) => counts[cell]! > 0);
  return {
    cluster: cells.map((cell) => cell % clusters),
    threshold: cells.map((cell) => Math.floor(cell / clusters)),
    count: Float64Array.from(cells, (cell) => counts[cell]!),
  };
}

function addWeights(reaching: Float64Array, { cluster, threshold, count }: ScoreGroups, weights: Uint16Array): void {
  for (let g = 0; g < count.length; g++) reaching[threshold[g]!]! += count[g]! * weights[cluster[g]!]!;
}
