import type { Rng } from '../base/rng.ts';
import { argsortStable, scope, share, to, toInt32 } from '../torch/index.ts';
import type { Searches } from './identification.ts';
import { atMostCount } from './roc.ts';

/** How often each identity was drawn, for each resample: [R][S]. Sixteen bits: S draws of S hardly ever meet 20 times. */
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

/** A number and the middle 95 % of its bootstrap distribution. */
export type Estimate = { readonly value: number; readonly low: number; readonly high: number };

export function estimate(value: number, replicates: Float64Array): Estimate {
  const sorted = replicates.filter((x) => !Number.isNaN(x)).sort();
  if (sorted.length === 0) return { value, low: Number.NaN, high: Number.NaN };
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
  return { value, low: at(0.025), high: at(0.975) };
}

/** Scores of pairs with the identities of both sides, as positions in the list of identities. */
export type ScoredPairs = { readonly score: Float32Array; readonly a: Int32Array; readonly b: Int32Array };

/** Impostor pairs of each two identities: their joint weight in a resample is the sum of count · w_a · w_b. */
export function pairCounts(
  { a, b }: Pick<ScoredPairs, 'a' | 'b'>,
  identities: number,
): { readonly a: Int32Array; readonly b: Int32Array; readonly count: Float64Array } {
  const counts = new Map<number, number>();
  for (let i = 0; i < a.length; i++) {
    const key = Math.min(a[i]!, b[i]!) * identities + Math.max(a[i]!, b[i]!);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const keys = Float64Array.from(counts.keys());
  return {
    a: Int32Array.from(keys, (key) => Math.floor(key / identities)),
    b: Int32Array.from(keys, (key) => key % identities),
    count: Float64Array.from(counts.values()),
  };
}

/** Total impostor weight of each resample, [R]: the same for every model. */
export function impostorWeights({ a, b, count }: ReturnType<typeof pairCounts>, resamples: Resamples): Float64Array {
  return Float64Array.from(resamples, (weights) => {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += count[i]! * weights[a[i]!]! * weights[b[i]!]!;
    return sum;
  });
}

/** Highest impostors kept, as a multiple of what the largest target lets pass: resamples may weigh the top more. */
const MARGIN = 2;

/**
 * TAR at FAR ≤ target in each resample: identity s drawn w_s times weighs a genuine pair w_s, an impostor pair w_s · w_t.
 * → [targets][R]
 */
export function tarReplicates(
  genuine: ScoredPairs,
  impostor: ScoredPairs,
  targets: readonly number[],
  resamples: Resamples,
  totals: Float64Array,
): Float64Array[] {
  const thresholds = thresholdReplicates(impostor, targets, resamples, totals);
  const matches = highest(genuine, genuine.score.length);
  const identities = resamples[0]?.length ?? 0;
  const all = countsByIdentity(matches.a, identities);
  return thresholds.map((ofTarget) => {
    const accepted = Int32Array.from(ofTarget, (threshold) => acceptedAbove(matches.score, threshold));
    // what every resample accepts is counted by identity once; thresholds differ little
    const shared = accepted.reduce((least, count) => Math.min(least, count), matches.score.length);
    const counts = countsByIdentity(matches.a.subarray(0, shared), identities);
    return Float64Array.from(resamples, (weights, r) => {
      let weight = weighed(counts, weights);
      for (let i = shared; i < accepted[r]!; i++) weight += weights[matches.a[i]!]!;
      return weight / weighed(all, weights);
    });
  });
}

/** The largest impostor score that each resample does not let pass at each target. [targets][R] */
function thresholdReplicates(
  impostor: ScoredPairs,
  targets: readonly number[],
  resamples: Resamples,
  totals: Float64Array,
): Float64Array[] {
  const top = highest(impostor, Math.ceil(Math.max(...targets) * MARGIN * impostor.score.length) + 1);
  // a resample that lets all of the kept ones through is judged by the lowest of them
  const beyond = top.score.length < impostor.score.length ? top.score.at(-1)! : Number.NEGATIVE_INFINITY;
  const order = [...targets.keys()].sort((x, y) => targets[x]! - targets[y]!);
  const thresholds = targets.map(() => new Float64Array(resamples.length));
  for (const [r, weights] of resamples.entries()) {
    let [passed, i] = [0, 0];
    for (const t of order) {
      const allowed = targets[t]! * totals[r]! * (1 + 1e-12);
      while (i < top.score.length) {
        const weight = weights[top.a[i]!]! * weights[top.b[i]!]!;
        if (passed + weight > allowed) break;
        passed += weight;
        i++;
      }
      thresholds[t]![r] = i < top.score.length ? top.score[i]! : beyond;
    }
  }
  return thresholds;
}

/** How many of falling `scores` are above the threshold. */
function acceptedAbove(scores: Float32Array, threshold: number): number {
  let [low, high] = [0, scores.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (scores[middle]! > threshold) low = middle + 1;
    else high = middle;
  }
  return low;
}

function countsByIdentity(identity: Int32Array, identities: number): Float64Array {
  const counts = new Float64Array(identities);
  for (const s of identity) counts[s]!++;
  return counts;
}

function weighed(counts: Float64Array, weights: Uint16Array): number {
  let sum = 0;
  for (let s = 0; s < counts.length; s++) sum += counts[s]! * weights[s]!;
  return sum;
}

/** The `count` pairs of highest score, falling, those of equal score in their order; and all that tie with the last. */
function highest({ score, a, b }: ScoredPairs, count: number): ScoredPairs {
  const order = scope(() =>
    toInt32(to(argsortStable(share(score, { shape: [score.length] }), { descending: true }), { dtype: 'int32' })),
  );
  let kept = Math.min(count, score.length);
  while (kept > 0 && kept < score.length && score[order[kept]!] === score[order[kept - 1]!]) kept++;
  const chosen = order.subarray(0, kept);
  return {
    score: Float32Array.from(chosen, (i) => score[i]!),
    a: Int32Array.from(chosen, (i) => a[i]!),
    b: Int32Array.from(chosen, (i) => b[i]!),
  };
}

/** Rank-k rate over the probes of both galleries in each resample, [R]; `identity` [P] of each probe. */
export function rankReplicates(
  searches: readonly Searches[],
  identity: Int32Array,
  rank: number,
  resamples: Resamples,
): Float64Array {
  return Float64Array.from(resamples, (weights) => {
    let [hits, mated] = [0, 0];
    for (const { ahead } of searches)
      for (let i = 0; i < identity.length; i++) {
        if (ahead[i]! < 0) continue;
        const weight = weights[identity[i]!]!;
        mated += weight;
        if (ahead[i]! < rank) hits += weight;
      }
    return hits / mated;
  });
}

/** TPIR at FPIR `target`, mean over the galleries, in each resample, [R]. The galleries themselves stay as they are. */
export function tpirReplicates(
  searches: readonly Searches[],
  identity: Int32Array,
  target: number,
  resamples: Resamples,
): Float64Array {
  const sorted = searches.map(({ own, best, ahead }) => {
    const all = Int32Array.from(own.keys());
    return {
      outsiders: all.filter((i) => ahead[i]! < 0).sort((x, y) => best[y]! - best[x]!),
      mated: all.filter((i) => ahead[i]! >= 0),
      winners: all.filter((i) => ahead[i] === 0).sort((x, y) => own[y]! - own[x]!),
    };
  });
  return Float64Array.from(resamples, (weights) => {
    let sum = 0;
    for (const [s, { own, best }] of searches.entries()) {
      const { outsiders, mated, winners } = sorted[s]!;
      const weightOf = (chosen: Int32Array): number => {
        let sum = 0;
        for (let k = 0; k < chosen.length; k++) sum += weights[identity[chosen[k]!]!]!;
        return sum;
      };
      const total = weightOf(outsiders);
      const wanted = Math.max(atMostCount(target, total), 1);
      let [passed, at] = [0, -1];
      while (passed < wanted && at + 1 < outsiders.length) passed += weights[identity[outsiders[++at]!]!]!;
      const threshold = best[outsiders[Math.max(at, 0)]!]!;
      let hits = 0;
      for (let k = 0; k < winners.length && own[winners[k]!]! > threshold; k++)
        hits += weights[identity[winners[k]!]!]!;
      sum += hits / weightOf(mated);
    }
    return sum / searches.length;
  });
}
