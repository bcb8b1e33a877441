import type { Rng } from '../base/rng.ts';
import { estimate, impostorWeights, pairCounts, type Resamples, totalWeights } from './bootstrap.ts';
import type {
  Change,
  ChangedPair,
  ChangedSearch,
  ClassChanges,
  DecisionChanges,
  PairChanges,
  SearchChanges,
} from './evaluation.ts';
import { NEVER_FOUND, type Searches } from './identification.ts';
import type { LabelledSetProtocol, Pairs } from './labelled-set-protocol.ts';

/** Examples of one kind, and classes that are listed. */
const [SEARCHES, PAIRS, CLASSES] = [12, 6, 10];

/** Searches of the old gallery as a test ran them. */
export type RanSearches = {
  readonly searches: readonly Searches[];
  /** The cosine of an image of the set as a query and one as an entry. */
  similarity(query: number, entry: number): number;
};

/** A test of the old gallery as it was run. */
export type RanTest = RanSearches & {
  /** Scores in the order of the protocol's pairs. */
  readonly genuine: Float32Array;
  readonly impostor: Float32Array;
  /** The threshold that keeps the FAR of the operating point. */
  readonly threshold: number;
};

/** What the searches of all tests share. `identity` numbers the classes of the images. [N] */
export type SearchChangesContext = {
  readonly labels: Int32Array;
  readonly identity: Int32Array;
  readonly drawn: Resamples;
  readonly rng: Rng;
  /** Positions of the images in the dataset, or ids of templates; absent: the images are all of the dataset. [N] */
  readonly positions?: Int32Array | undefined;
  /** Of images: the probes [P], the entries of each gallery, and each probe's place among these, -1 if it has none [P]. */
  readonly split: {
    readonly probes: Int32Array;
    readonly galleries: readonly { readonly entries: Int32Array; readonly enrolled: Int32Array }[];
  };
};

/** What all tests of a labelled set share. */
export type ChangesContext = SearchChangesContext &
  Pick<LabelledSetProtocol, 'pairs'> & {
    readonly classes: number;
    /** Impostor weight of each resample. [R] */
    readonly totals: Float64Array;
  };

type Both<T> = { readonly old: T; readonly fresh: T };
type Found = { readonly gallery: number; readonly probe: number };

/**
 * Searches that are wrong at rank 1 by old → old and right by new → old (repaired: positive flips), and the reverse (broken: negative
 * flips; Yan and others, "Positive-congruent training", CVPR 2021). Their shares are of all enrolled probes, so that their
 * difference is that of rank-1. Intervals are over identities.
 */
export function searchChanges({ old, fresh }: Both<RanSearches>, context: SearchChangesContext): SearchChanges {
  const { identity, labels, drawn, split, positions, rng } = context;
  const [searched, repaired, broken]: [Found[], Found[], Found[]] = [[], [], []];
  for (const [gallery, { ahead }] of old.searches.entries())
    for (const [probe, before] of ahead.entries()) {
      if (before < 0) continue;
      const found = { gallery, probe };
      const [was, is] = [before === 0, fresh.searches[gallery]!.ahead[probe] === 0];
      searched.push(found);
      if (is && !was) repaired.push(found);
      if (was && !is) broken.push(found);
    }
  const identities = (of: readonly Found[]): Int32Array =>
    Int32Array.from(of, ({ probe }) => identity[split.probes[probe]!]!);
  const total = totalWeights(identities(searched), drawn);
  const change = (of: readonly Found[]): Change =>
    changeOf(of.length, searched.length, totalWeights(identities(of), drawn), total);
  const labelOf = ({ probe }: Found): number => labels[split.probes[probe]!]!;
  const example = (found: Found, wrongBy: RanSearches): ChangedSearch => {
    const { entries, enrolled } = split.galleries[found.gallery]!;
    const right = enrolled[found.probe]!;
    const wrong = nearestOther(wrongBy, split.probes[found.probe]!, entries, right);
    const place = (i: number): number => positions?.[i] ?? i;
    const rank = ({ searches }: RanSearches): number | null => {
      const ahead = searches[found.gallery]!.ahead[found.probe]!;
      return ahead === NEVER_FOUND ? null : ahead + 1;
    };
    return {
      query: place(split.probes[found.probe]!),
      right: place(entries[right]!),
      wrong: place(entries[wrong]!),
      oldRank: rank(old),
      newRank: rank(fresh),
    };
  };
  const examples = (of: readonly Found[], wrongBy: RanSearches, name: string): ChangedSearch[] => {
    const shown = of.filter(
      ({ gallery, probe }) =>
        wrongBy.searches[gallery]!.ahead[probe] !== NEVER_FOUND && split.galleries[gallery]!.entries.length > 1,
    );
    const drawn = rng.split(name).sample([...shown.keys()], shown.length);
    return oneOfEachClass(drawn.map((i) => shown[i]!), labelOf).slice(0, SEARCHES).map((found) => example(found, wrongBy)); // biome-ignore format: short
  };
  return {
    searches: searched.length,
    repaired: change(repaired),
    broken: change(broken),
    worstClasses: worstClasses({ searched, repaired, broken }, labelOf),
    examples: { repaired: examples(repaired, old, 'repaired'), broken: examples(broken, fresh, 'broken') },
  };
}

function changeOf(count: number, all: number, weights: Float64Array, total: Float64Array): Change {
  return { count, share: estimate(count / all, weights.map((weight, r) => weight / total[r]!)) }; // biome-ignore format: short
}

/** The first of each class, in order. */
function oneOfEachClass<T>(items: readonly T[], classOf: (item: T) => number): T[] {
  const met = new Set<number>();
  return items.filter((item) => !met.has(classOf(item)) && met.add(classOf(item)));
}

/** The entry of another identity that is most similar to image `query`, the first of equal ones. */
function nearestOther({ similarity }: RanSearches, image: number, entries: Int32Array, right: number): number {
  let [best, most] = [right === 0 ? 1 : 0, Number.NEGATIVE_INFINITY];
  for (const [entry, at] of entries.entries()) {
    if (entry === right) continue;
    const score = similarity(image, at);
    if (score > most) [best, most] = [entry, score];
  }
  return best;
}

function worstClasses(
  found: Readonly<Record<'searched' | 'repaired' | 'broken', readonly Found[]>>,
  labelOf: (found: Found) => number,
): ClassChanges[] {
  const count = (of: readonly Found[]): Map<number, number> => {
    const counts = new Map<number, number>();
    for (const one of of) counts.set(labelOf(one), (counts.get(labelOf(one)) ?? 0) + 1);
    return counts;
  };
  const [searched, repaired, broken] = [count(found.searched), count(found.repaired), count(found.broken)];
  return [...broken]
    .map(([label, lost]) => ({
      label,
      searches: searched.get(label)!,
      repaired: repaired.get(label) ?? 0,
      broken: lost,
    }))
    .filter(({ repaired, broken }) => broken > repaired)
    .sort((a, b) => b.broken - b.repaired - (a.broken - a.repaired) || a.label - b.label)
    .slice(0, CLASSES);
}

/**
 * Pairs that old → old and new → old decide differently, each at its own threshold for the FAR. A genuine pair is repaired if the
 * old model rejects it and the new one accepts it; an impostor pair if the old model accepts it and the new one rejects it.
 */
export function pairChanges({ old, fresh }: Both<RanTest>, context: ChangesContext): PairChanges {
  const { pairs, identity, classes, drawn, totals } = context;
  const genuineWeights = (chosen: Int32Array): Float64Array =>
    totalWeights(chosen.map((k) => identity[pairs.genuine.gallery[k]!]!), drawn); // biome-ignore format: short
  const impostorsOf = (side: 'gallery' | 'query', chosen: Int32Array): Int32Array =>
    chosen.map((k) => identity[pairs.impostor[side][k]!]!);
  const impostorsWeights = (chosen: Int32Array): Float64Array =>
    impostorWeights(pairCounts({ a: impostorsOf('gallery', chosen), b: impostorsOf('query', chosen) }, classes), drawn);
  const scoresOf = (kind: 'genuine' | 'impostor') => ({
    old: { scores: old[kind], threshold: old.threshold },
    fresh: { scores: fresh[kind], threshold: fresh.threshold },
  });
  const all = totalWeights(pairs.genuine.gallery.map((i) => identity[i]!), drawn); // biome-ignore format: short
  return {
    oldThreshold: old.threshold,
    newThreshold: fresh.threshold,
    genuine: decisionChanges('genuine', pairs.genuine, { ...context, ...scoresOf('genuine'), weights: genuineWeights, total: all }), // biome-ignore format: short
    impostor: decisionChanges('impostor', pairs.impostor, { ...context, ...scoresOf('impostor'), weights: impostorsWeights, total: totals }), // biome-ignore format: short
  };
}

/** Scores of pairs by one model [K], and the score that accepted ones are above. */
export type DecidedPairs = { readonly scores: Float32Array | Float64Array; readonly threshold: number };

/** Pairs of one kind that both models decide differently. `weights` gives the weight of chosen pairs in each resample, `total` that of all. [R] */
export function decisionChanges(
  kind: 'genuine' | 'impostor',
  of: Pairs,
  {
    old,
    fresh,
    positions,
    weights,
    total,
  }: Both<DecidedPairs> &
    Pick<SearchChangesContext, 'positions'> & {
      readonly weights: (chosen: Int32Array) => Float64Array;
      readonly total: Float64Array;
    },
): DecisionChanges {
  const count = of.gallery.length;
  const [gained, lost]: [number[], number[]] = [[], []];
  for (let k = 0; k < count; k++) {
    const was = old.scores[k]! > old.threshold;
    const is = fresh.scores[k]! > fresh.threshold;
    if (is && !was) gained.push(k);
    if (was && !is) lost.push(k);
  }
  const [repaired, broken] = kind === 'genuine' ? [gained, lost] : [lost, gained];
  const change = (chosen: readonly number[]): Change =>
    changeOf(chosen.length, count, weights(Int32Array.from(chosen)), total);
  const place = (i: number): number => positions?.[i] ?? i;
  const distance = (k: number): number => Math.abs(fresh.scores[k]! - fresh.threshold);
  const examples = (chosen: readonly number[]): ChangedPair[] =>
    chosen
      .filter((k) => Number.isFinite(distance(k)) && Number.isFinite(old.scores[k]!))
      .sort((a, b) => distance(a) - distance(b) || a - b)
      .slice(0, PAIRS)
      .map((k) => ({
        query: place(of.query[k]!),
        gallery: place(of.gallery[k]!),
        oldScore: old.scores[k]!,
        newScore: fresh.scores[k]!,
      }));
  return {
    pairs: count,
    repaired: change(repaired),
    broken: change(broken),
    examples: { repaired: examples(repaired), broken: examples(broken) },
  };
}
