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
import { cosine, type Embeddings } from './scores.ts';

/** Examples of one kind, and classes that are listed. */
const [SEARCHES, PAIRS, CLASSES] = [12, 6, 10];

/** A test of the old gallery as it was run: its embeddings, and what it found. */
export type RanTest = {
  readonly query: Embeddings;
  readonly gallery: Embeddings;
  readonly searches: readonly Searches[];
  /** Scores in the order of the protocol's pairs. */
  readonly genuine: Float32Array;
  readonly impostor: Float32Array;
  /** The threshold that keeps the FAR of the operating point. */
  readonly threshold: number;
};

/** What the tests of an evaluation share. `identity` numbers the classes of the images. [N] */
export type ChangesContext = Pick<LabelledSetProtocol, 'labels' | 'pairs' | 'split'> & {
  readonly identity: Int32Array;
  readonly classes: number;
  readonly drawn: Resamples;
  /** Impostor weight of each resample. [R] */
  readonly totals: Float64Array;
  readonly rng: Rng;
  /** Positions of the images in the dataset; absent: the images are all of it. [N] */
  readonly positions?: Int32Array | undefined;
};

type Both = { readonly old: RanTest; readonly fresh: RanTest };
type Found = { readonly gallery: number; readonly probe: number };

/**
 * Searches that are wrong at rank 1 by old → old and right by new → old (repaired: positive flips), and the reverse (broken: negative
 * flips; Yan and others, "Positive-congruent training", CVPR 2021). Their shares are of all enrolled probes, so that their
 * difference is that of rank-1. Intervals are over identities.
 */
export function searchChanges({ old, fresh }: Both, context: ChangesContext): SearchChanges {
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
  const example = (found: Found, wrongBy: RanTest): ChangedSearch => {
    const { entries, enrolled } = split.galleries[found.gallery]!;
    const right = enrolled[found.probe]!;
    const wrong = nearestOther(wrongBy, split.probes[found.probe]!, entries, right);
    const place = (i: number): number => positions?.[i] ?? i;
    const rank = ({ searches }: RanTest): number | null => {
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
  const examples = (of: readonly Found[], wrongBy: RanTest, name: string): ChangedSearch[] => {
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
function nearestOther({ query, gallery }: RanTest, image: number, entries: Int32Array, right: number): number {
  let [best, most] = [right === 0 ? 1 : 0, Number.NEGATIVE_INFINITY];
  for (const [entry, at] of entries.entries()) {
    if (entry === right) continue;
    const score = cosine(query.rows, image, gallery.rows, at, query.dim);
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
export function pairChanges({ old, fresh }: Both, context: ChangesContext): PairChanges {
  const { pairs, identity, classes, drawn, totals } = context;
  const genuineWeights = (chosen: Int32Array): Float64Array =>
    totalWeights(chosen.map((k) => identity[pairs.genuine.gallery[k]!]!), drawn); // biome-ignore format: short
  const impostorsOf = (side: 'gallery' | 'query', chosen: Int32Array): Int32Array =>
    chosen.map((k) => identity[pairs.impostor[side][k]!]!);
  const impostorsWeights = (chosen: Int32Array): Float64Array =>
    impostorWeights(pairCounts({ a: impostorsOf('gallery', chosen), b: impostorsOf('query', chosen) }, classes), drawn);
  const all = totalWeights(pairs.genuine.gallery.map((i) => identity[i]!), drawn); // biome-ignore format: short
  return {
    oldThreshold: old.threshold,
    newThreshold: fresh.threshold,
    genuine: decisionChanges({ old, fresh }, 'genuine', { ...context, weights: genuineWeights, total: all }),
    impostor: decisionChanges({ old, fresh }, 'impostor', { ...context, weights: impostorsWeights, total: totals }),
  };
}

function decisionChanges(
  { old, fresh }: Both,
  kind: 'genuine' | 'impostor',
  {
    pairs,
    positions,
    weights,
    total,
  }: ChangesContext & { readonly weights: (chosen: Int32Array) => Float64Array; readonly total: Float64Array },
): DecisionChanges {
  const of: Pairs = pairs[kind];
  const count = of.gallery.length;
  const [gained, lost]: [number[], number[]] = [[], []];
  for (let k = 0; k < count; k++) {
    const was = old[kind][k]! > old.threshold;
    const is = fresh[kind][k]! > fresh.threshold;
    if (is && !was) gained.push(k);
    if (was && !is) lost.push(k);
  }
  const [repaired, broken] = kind === 'genuine' ? [gained, lost] : [lost, gained];
  const change = (chosen: readonly number[]): Change =>
    changeOf(chosen.length, count, weights(Int32Array.from(chosen)), total);
  const place = (i: number): number => positions?.[i] ?? i;
  const distance = (k: number): number => Math.abs(fresh[kind][k]! - fresh.threshold);
  const examples = (chosen: readonly number[]): ChangedPair[] =>
    chosen
      .filter((k) => Number.isFinite(distance(k)) && Number.isFinite(old[kind][k]!))
      .sort((a, b) => distance(a) - distance(b) || a - b)
      .slice(0, PAIRS)
      .map((k) => ({
        query: place(of.query[k]!),
        gallery: place(of.gallery[k]!),
        oldScore: old[kind][k]!,
        newScore: fresh[kind][k]!,
      }));
  return {
    pairs: count,
    repaired: change(repaired),
    broken: change(broken),
    examples: { repaired: examples(repaired), broken: examples(broken) },
  };
}
