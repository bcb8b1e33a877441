import { groupPositions } from '../base/group-positions.ts';
import type { Rng } from '../base/rng.ts';
import { argsortStable, scope, share, to, toInt32 } from '../torch/index.ts';
import { firstIndexWhere } from './binary-search.ts';
import type { Estimate } from './evaluation.ts';
import type { Searches } from './identification.ts';
import { atMostCount } from './roc.ts';

/** How often each resample draws each identity. [R][S] An identity is hardly ever drawn 20 times, so 16 bits are enough. */
export type Resamples = readonly Uint16Array[];

/** R samples of S identities with replacement. All metrics and models share them, so that differences are paired. */
export function resampleIdentities(identities: number, resamples: number, rng: Rng): Resamples {
  return Array.from({ length: resamples }, (_, r) => {
    const stream = rng.split('resample', r);
    const weights = new Uint16Array(identities);
    for (let i = 0; i < identities; i++) weights[stream.integer(identities)]!++;
    return weights;
  });
}

/** A number and the middle 95 % of its replicates. */
export function estimate(value: number, replicates: Float64Array): Estimate {
  const sorted = replicates.filter((x) => !Number.isNaN(x)).sort();
  if (sorted.length === 0) return { value, low: Number.NaN, high: Number.NaN };
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
  return { value, low: at(0.025), high: at(0.975) };
}

/** Scores of pairs with the identities of both sides, as positions in the list of identities. */
export type ScoredPairs = { readonly score: Float32Array; readonly a: Int32Array; readonly b: Int32Array };

/** Counts of pairs by their two identities. Entries `from[s]` … `from[s + 1] - 1` are of identity s and a later one, `partner`. */
export type PairCounts = { readonly from: Int32Array; readonly partner: Int32Array; readonly count: Int32Array };

/** Counts impostor pairs by their two identities. Their weight in a resample is the sum of count · w_a · w_b. */
export function pairCounts({ a, b }: Pick<ScoredPairs, 'a' | 'b'>, identities: number): PairCounts {
  const { order, starts } = groupPositions(a.length, identities, (pair) => Math.min(a[pair]!, b[pair]!));
  const partner = order.map((pair) => Math.max(a[pair]!, b[pair]!));
  const [from, count, met] = [new Int32Array(identities + 1), new Int32Array(a.length), new Int32Array(identities)];
  let kept = 0;
  for (let s = 0; s < identities; s++) {
    for (let k = starts[s]!; k < starts[s + 1]!; k++) if (met[partner[k]!]!++ === 0) partner[kept++] = partner[k]!;
    for (let k = from[s]!; k < kept; k++) {
      count[k] = met[partner[k]!]!;
      met[partner[k]!] = 0;
    }
    from[s + 1] = kept;
  }
  return { from, partner: partner.subarray(0, kept), count: count.subarray(0, kept) };
}

/** Total impostor weight of each resample, [R]: the same for every model. Four resamples share a pass over the pairs. */
export function impostorWeights({ from, partner, count }: PairCounts, resamples: Resamples): Float64Array {
  const identities = from.length - 1;
  const totals = new Float64Array(4 * Math.ceil(resamples.length / 4));
  const weights = new Float64Array(4 * identities);
  for (let r = 0; r < resamples.length; r += 4) {
    for (const [i, drawn] of resamples.slice(r, r + 4).entries())
      for (let s = 0; s < identities; s++) weights[4 * s + i] = drawn[s]!;
    let [sum0, sum1, sum2, sum3] = [0, 0, 0, 0];
    for (let s = 0; s < identities; s++) {
      let [met0, met1, met2, met3] = [0, 0, 0, 0];
      for (let k = from[s]!; k < from[s + 1]!; k++) {
        const [pairs, at] = [count[k]!, 4 * partner[k]!];
        met0 += pairs * weights[at]!;
        met1 += pairs * weights[at + 1]!;
        met2 += pairs * weights[at + 2]!;
        met3 += pairs * weights[at + 3]!;
      }
      sum0 += met0 * weights[4 * s]!;
      sum1 += met1 * weights[4 * s + 1]!;
      sum2 += met2 * weights[4 * s + 2]!;
      sum3 += met3 * weights[4 * s + 3]!;
    }
    totals.set([sum0, sum1, sum2, sum3], r);
  }
  return totals.subarray(0, resamples.length);
}

/** Impostors kept, as a multiple of those that the largest target accepts: a resample may weigh the highest ones more. */
const KEPT_MULTIPLE = 2;

/**
 * How many of the highest impostors decide resamples of the TAR at FAR ≤ target where not all are at hand. A resample that draws few of
 * their identities would accept more: it then uses the lowest of them.
 */
export const impostorsKept = (target: number, inAll: number): number => Math.ceil(target * KEPT_MULTIPLE * inAll) + 1;

/**
 * TAR at FAR ≤ target in each resample. Pairs are sorted by falling score. If identity s is drawn w_s times, its genuine pairs
 * weigh w_s, and its impostor pairs with t weigh w_s · w_t. → [targets][R]
 * `impostor` may be the highest `impostorsKept` of `impostorsInAll` alone.
 */
export function tarReplicates(
  genuine: ScoredPairs,
  impostor: ScoredPairs,
  targets: readonly number[],
  resamples: Resamples,
  totals: Float64Array,
  impostorsInAll = impostor.score.length,
): Float64Array[] {
  const thresholds = thresholdReplicates(impostor, targets, resamples, totals, impostorsInAll);
  const all = totalWeights(genuine.a, resamples);
  return thresholds.map((ofTarget) => {
    const accepted = Int32Array.from(ofTarget, (threshold) => countAboveFalling(genuine.score, threshold));
    return prefixWeights(genuine.a, accepted, resamples).map((weight, r) => weight / all[r]!);
  });
}

/** The largest impostor score that each resample rejects at each target; scores fall. [targets][R] */
export function thresholdReplicates(
  impostor: ScoredPairs,
  targets: readonly number[],
  resamples: Resamples,
  totals: Float64Array,
  inAll = impostor.score.length,
): Float64Array[] {
  const { score, a, b } = impostor;
  const all = score.length === inAll;
  const kept = all ? inAll : countWithTies(score, impostorsKept(Math.max(...targets), inAll));
  // a resample that accepts all kept impostors of more that there are uses the lowest of them
  const beyond = all ? Number.NEGATIVE_INFINITY : score[kept - 1]!;
  const order = [...targets.keys()].sort((x, y) => targets[x]! - targets[y]!);
  const thresholds = targets.map(() => new Float64Array(resamples.length));
  for (const [r, weights] of resamples.entries()) {
    let [passed, i] = [0, 0];
    for (const t of order) {
      const allowed = targets[t]! * totals[r]! * (1 + 1e-12);
      while (i < kept) {
        const weight = weights[a[i]!]! * weights[b[i]!]!;
        if (passed + weight > allowed) break;
        passed += weight;
        i++;
      }
      thresholds[t]![r] = i < kept ? score[i]! : beyond;
    }
  }
  return thresholds;
}

/** `count`, plus how many of the falling scores tie with number `count`. */
function countWithTies(score: Float32Array, count: number): number {
  let kept = Math.min(count, score.length);
  while (kept > 0 && kept < score.length && score[kept] === score[kept - 1]) kept++;
  return kept;
}

/** How many of falling `scores` are above the threshold. */
export const countAboveFalling = (scores: Float32Array | Float64Array, threshold: number): number =>
  firstIndexWhere(scores.length, (i) => !(scores[i]! > threshold));

/** Sum of the weights of `identity` in each resample. [K] → [R] */
export function totalWeights(identity: Int32Array, resamples: Resamples): Float64Array {
  const counts = new Float64Array(resamples[0]?.length ?? 0);
  for (const s of identity) counts[s]!++;
  return Float64Array.from(resamples, (weights) => weightedSum(counts, weights));
}

/** Σ values · weights, over the identities. */
export function weightedSum(values: Float64Array, weights: Uint16Array): number {
  let sum = 0;
  for (let s = 0; s < values.length; s++) sum += values[s]! * weights[s]!;
  return sum;
}

/** Sum of the weights of the first `first[r]` of `identity` in resample r. The part that all resamples share is counted once. [R] */
export function prefixWeights(identity: Int32Array, first: Int32Array, resamples: Resamples): Float64Array {
  const shared = first.reduce((least, count) => Math.min(least, count), identity.length);
  return totalWeights(identity.subarray(0, shared), resamples).map((weight, r) => {
    const weights = resamples[r]!;
    let sum = weight;
    for (let k = shared; k < first[r]!; k++) sum += weights[identity[k]!]!;
    return sum;
  });
}

/** Sorts pairs by falling score; pairs of equal score keep their order. */
export function sortPairsByScore({ score, a, b }: ScoredPairs): ScoredPairs {
  const order = scope(() =>
    toInt32(to(argsortStable(share(score, { shape: [score.length] }), { descending: true }), { dtype: 'int32' })),
  );
  return {
    score: score.map((_, k) => score[order[k]!]!),
    a: a.map((_, k) => a[order[k]!]!),
    b: b.map((_, k) => b[order[k]!]!),
  };
}

/** Mean of `of(ahead)` over the enrolled probes of all searches in each resample, [R]; `identity` [P] of each probe. */
export function probeReplicates(
  searches: readonly Searches[],
  identity: Int32Array,
  of: (ahead: number) => number,
  resamples: Resamples,
): Float64Array {
  const identities = resamples[0]?.length ?? 0;
  const [sums, counts] = [new Float64Array(identities), new Float64Array(identities)];
  for (const { ahead } of searches)
    for (let i = 0; i < identity.length; i++) {
      if (ahead[i]! < 0) continue;
      sums[identity[i]!]! += of(ahead[i]!);
      counts[identity[i]!]!++;
    }
  return Float64Array.from(resamples, (weights) => weightedSum(sums, weights) / weightedSum(counts, weights));
}

/** TPIR at FPIR `targets`, mean over the galleries, in each resample. Only probes are resampled. → [targets][R] */
export function tpirReplicates(
  searches: readonly Searches[],
  identity: Int32Array,
  targets: readonly number[],
  resamples: Resamples,
): Float64Array[] {
  const galleries = searches.map(({ own, best, ahead }) => {
    const all = Int32Array.from(own.keys());
    const falling = (wanted: (ahead: number) => boolean, by: Float64Array) => {
      const chosen = all.filter((i) => wanted(ahead[i]!)).sort((x, y) => by[y]! - by[x]!);
      return { score: Float64Array.from(chosen, (i) => by[i]!), identity: chosen.map((i) => identity[i]!) };
    };
    const outsiders = falling((n) => n < 0, best);
    const winners = falling((n) => n === 0, own);
    const mated = totalWeights(
      identity.filter((_, i) => ahead[i]! >= 0),
      resamples,
    );
    return { outsiders, winners, total: totalWeights(outsiders.identity, resamples), mated };
  });
  return targets.map((target) => {
    const rates = galleries.map(({ outsiders, winners, total, mated }) => {
      const accepted = Int32Array.from(resamples, (weights, r) => {
        const wanted = Math.max(atMostCount(target, total[r]!), 1);
        let [passed, at] = [0, -1];
        while (passed < wanted && at + 1 < outsiders.score.length) passed += weights[outsiders.identity[++at]!]!;
        return countAboveFalling(winners.score, outsiders.score[Math.max(at, 0)]!);
      });
      return prefixWeights(winners.identity, accepted, resamples).map((hits, r) => hits / mated[r]!);
    });
    return rates[0]!.map((_, r) => rates.reduce((sum, rate) => sum + rate[r]!, 0) / rates.length);
  });
}
