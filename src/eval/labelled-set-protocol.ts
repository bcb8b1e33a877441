import { UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { firstIndexWhere } from './binary-search.ts';
import { SAMPLE_SIZES } from './defaults.ts';

/** Class ids and family ids of the images of an evaluation set (family -1: a family of its own). [N] each */
export type Identities = { readonly labels: Int32Array; readonly families: Int32Array };

/** Pairs (gallery side, query side) of positions in the evaluation set. */
export type Pairs = { readonly gallery: Int32Array; readonly query: Int32Array };
export type VerificationProtocol = {
  readonly genuine: Pairs;
  /** Genuine pairs of the set; `genuine` are all of them or a sample. */
  readonly totalGenuine: number;
  readonly impostor: Pairs;
  readonly allImpostors: boolean;
};

/** Images of one family share a style or a session, so their similarity would be too high. */
const inDifferentFamilies = ({ families }: Identities, a: number, b: number): boolean =>
  families[a] !== families[b] || families[a]! < 0;

/** Pairs in the order in which they were added. */
class PairList {
  #gallery: Int32Array = new Int32Array(1024);
  #query: Int32Array = new Int32Array(1024);
  #count = 0;

  /** Draws which of the two is in the gallery, so that neither side has the earlier images. */
  add(a: number, b: number, rng: Rng): void {
    if (this.#count === this.#gallery.length) {
      this.#gallery = doubled(this.#gallery);
      this.#query = doubled(this.#query);
    }
    const swap = rng.uniform() < 0.5;
    this.#gallery[this.#count] = swap ? b : a;
    this.#query[this.#count++] = swap ? a : b;
  }
  get count(): number {
    return this.#count;
  }
  toPairs(): Pairs {
    return { gallery: this.#gallery.slice(0, this.#count), query: this.#query.slice(0, this.#count) };
  }
}

function doubled(array: Int32Array): Int32Array {
  const larger = new Int32Array(2 * array.length);
  larger.set(array);
  return larger;
}

/** Draws per wanted pair before the set is taken to have no more. */
const TRIES_PER_PAIR = 100;

/**
 * Pairs of 1:1 verification, always of different families: all genuine pairs, or `genuines` drawn uniformly by seed if there are
 * more; likewise `impostors` impostor pairs. All models are tested on the same pairs, so differences between models are paired.
 * Memory: 16 bytes per pair, whatever the sizes of classes.
 * @throws UserError if there is no genuine pair.
 */
export function verificationPairs(
  identities: Identities,
  { genuines, impostors, rng }: { readonly genuines: number; readonly impostors: number; readonly rng: Rng },
): VerificationProtocol {
  const { labels } = identities;
  const n = labels.length;
  const direction = rng.split('direction');
  const classes = positionsByClass(labels);
  const counts = [...classes.values()].map((positions) => genuineCount(identities, positions));
  const totalGenuine = counts.reduce((sum, count) => sum + count, 0);
  if (totalGenuine === 0)
    throw new UserError(
      'no class of the evaluation set has two pictures of different families: there is nothing to verify',
    );
  if (classes.size < 2) throw new UserError('the evaluation set has one class: there are no impostors');
  const genuine =
    totalGenuine <= genuines
      ? allGenuinePairs(identities, direction)
      : sampleGenuinePairs(identities, [...classes.values()], { genuines, draw: rng.split('genuines'), direction });
  const allImpostors = (n * (n - 1)) / 2 <= impostors;
  const impostor = new PairList();
  if (allImpostors) {
    for (let a = 0; a < n; a++)
      for (let b = a + 1; b < n; b++)
        if (labels[a] !== labels[b] && inDifferentFamilies(identities, a, b)) impostor.add(a, b, direction);
  } else {
    const draw = rng.split('impostors');
    for (let tries = 0; impostor.count < impostors && tries < TRIES_PER_PAIR * impostors; tries++) {
      const [a, b] = [draw.integer(n), draw.integer(n)];
      if (labels[a] !== labels[b] && inDifferentFamilies(identities, a, b)) impostor.add(a, b, direction);
    }
  }
  if (impostor.count === 0)
    throw new UserError(
      'no pair of two classes across families was found: the set has hardly any impostors, because nearly all of it is one class or one family',
    );
  return { genuine: genuine.toPairs(), totalGenuine, impostor: impostor.toPairs(), allImpostors };
}

/** Positions of each class's images, ascending; classes in the order in which they come. */
export function positionsByClass(labels: Int32Array): ReadonlyMap<number, readonly number[]> {
  const classes = new Map<number, number[]>();
  for (const [i, label] of labels.entries()) {
    const positions = classes.get(label);
    if (positions) positions.push(i);
    else classes.set(label, [i]);
  }
  return classes;
}

/** Counts the pairs of a class that are of different families. */
function genuineCount({ families }: Identities, positions: readonly number[]): number {
  const pairs = (count: number): number => (count * (count - 1)) / 2;
  const sizes = new Map<number, number>();
  for (const i of positions) if (families[i]! >= 0) sizes.set(families[i]!, (sizes.get(families[i]!) ?? 0) + 1);
  return [...sizes.values()].reduce((sum, size) => sum - pairs(size), pairs(positions.length));
}

function allGenuinePairs(identities: Identities, direction: Rng): PairList {
  const pairs = new PairList();
  const before = new Map<number, number[]>();
  for (const [i, label] of identities.labels.entries()) {
    const others = before.get(label) ?? [];
    for (const j of others) if (inDifferentFamilies(identities, i, j)) pairs.add(j, i, direction);
    others.push(i);
    before.set(label, others);
  }
  return pairs;
}

type Draws = { readonly genuines: number; readonly draw: Rng; readonly direction: Rng };

/**
 * Draws an image with a probability in proportion to its pairs, then its partner among the images of its class and other families.
 * No draw is rejected, so a class with almost all images in one family costs no more than another.
 */
function sampleGenuinePairs(
  { families }: Identities,
  classes: readonly (readonly number[])[],
  { genuines, draw, direction }: Draws,
): PairList {
  const images = classes.flatMap((positions) => imagesWithPartners(positions, families));
  const upTo = new Float64Array(images.length); // pairs of this image and all before it
  let total = 0;
  for (const [i, { partners }] of images.entries()) {
    total += partners;
    upTo[i] = total;
  }
  const pairs = new PairList();
  while (pairs.count < genuines) {
    // a single draw of 32 bits would never reach most of billions of pairs
    const target = total * uniform53Bits(draw);
    const chosen = firstIndexWhere(upTo.length - 1, (i) => upTo[i]! > target);
    const { position, ordered, from, to, partners } = images[chosen]!;
    const k = draw.integer(partners);
    const other = ordered[k < from ? k : k + to - from]!;
    pairs.add(Math.min(position, other), Math.max(position, other), direction);
  }
  return pairs;
}

/** An image of a class whose images are `ordered` by family; positions `from` … `to - 1` are of its own family. */
type ImageWithPartners = {
  readonly position: number;
  readonly ordered: readonly number[];
  readonly from: number;
  readonly to: number;
  readonly partners: number;
};

function imagesWithPartners(positions: readonly number[], families: Int32Array): ImageWithPartners[] {
  const ordered = positions.toSorted((a, b) => families[a]! - families[b]!);
  const result: ImageWithPartners[] = [];
  for (let from = 0, to = 0; from < ordered.length; from = to) {
    const family = families[ordered[from]!]!;
    to++;
    if (family >= 0) while (to < ordered.length && families[ordered[to]!] === family) to++;
    const partners = ordered.length - (to - from);
    if (partners > 0)
      for (let k = from; k < to; k++) result.push({ position: ordered[k]!, ordered, from, to, partners });
  }
  return result;
}

/** Uniform in [0, 1) with more bits than `uniform`. */
const uniform53Bits = (rng: Rng): number => (rng.integer(2 ** 21) + rng.uniform()) / 2 ** 21;

/** One gallery: an entry for each enrolled identity, and for each probe its identity's entry, or -1. */
export type Gallery = { readonly entries: Int32Array; readonly enrolled: Int32Array };
export type IdentificationProtocol = {
  readonly probes: Int32Array;
  /** Probes of the set; `probes` are all of them or a sample. */
  readonly totalProbes: number;
  readonly galleries: readonly [Gallery, Gallery];
};

/**
 * Galleries and probes of open-set 1:N identification (methods.md 6.6). One image of each identity is its gallery entry; its
 * images of other families are probes. Half of the identities, drawn by seed, are enrolled in the first gallery, the others in
 * the second, and every probe searches both. If families are known, half of them, drawn by seed, supply gallery entries and the
 * others probes, so no probe meets an entry of its own family. If there are more probes than `most`, `most` are drawn by seed.
 */
export function identificationSplit(
  { labels, families }: Identities,
  rng: Rng,
  { most = Number.POSITIVE_INFINITY }: { readonly most?: number } = {},
): IdentificationProtocol {
  const known = families.every((family) => family >= 0) ? [...new Set(families)].sort((a, b) => a - b) : [];
  const galleryFamilies = new Set(rng.split('families').sample(known, Math.ceil(known.length / 2)));
  const forGallery = (i: number): boolean => galleryFamilies.size < 2 || galleryFamilies.has(families[i]!);
  const identities = [...new Set(labels)].sort((a, b) => a - b);
  const draw = rng.split('entries');
  const entryOf = new Map<number, number>();
  const positions = new Map<number, number[]>(identities.map((label) => [label, []]));
  for (const [i, label] of labels.entries()) if (forGallery(i)) positions.get(label)!.push(i);
  for (const label of identities) {
    const candidates = positions.get(label)!;
    if (candidates.length > 0) entryOf.set(label, candidates[draw.integer(candidates.length)]!);
  }
  const isProbe = (i: number): boolean => {
    const entry = entryOf.get(labels[i]!);
    if (entry === undefined || entry === i) return false;
    return galleryFamilies.size < 2
      ? families[i]! < 0 || families[i] !== families[entry]
      : !galleryFamilies.has(families[i]!);
  };
  const all = Int32Array.from(labels.keys()).filter(isProbe);
  const probes = all.length > most ? Int32Array.from(rng.split('probes').sample(all, most)).sort() : all;
  const enrolledFirst = new Set(rng.split('enrolled').sample([...entryOf.keys()], Math.floor(entryOf.size / 2)));
  if (probes.length === 0 || enrolledFirst.size === 0)
    throw new UserError(
      'the evaluation set is too small to search: wanted two classes with two pictures of different families each',
    );
  const gallery = (chosen: (label: number) => boolean): Gallery => {
    const subjects = [...entryOf.keys()].filter(chosen);
    const at = new Map(subjects.map((label, i) => [label, i]));
    return {
      entries: Int32Array.from(subjects, (label) => entryOf.get(label)!),
      enrolled: Int32Array.from(probes, (i) => at.get(labels[i]!) ?? -1),
    };
  };
  return {
    probes,
    totalProbes: all.length,
    galleries: [gallery((label) => enrolledFirst.has(label)), gallery((label) => !enrolledFirst.has(label))],
  };
}

/** Pairs and searches of a labelled set. */
export type LabelledSetProtocol = Identities & {
  readonly pairs: VerificationProtocol;
  readonly split: IdentificationProtocol;
};

export type ProtocolOptions = {
  readonly seed: number;
  /** Most genuine pairs, impostor pairs and probes to use. If there are more, this many are drawn. */
  readonly genuines?: number | undefined;
  readonly impostors?: number | undefined;
  readonly probes?: number | undefined;
};

/** The stream of an evaluation's draws. */
export const evaluationRng = (seed: number): Rng => new Rng(seed).split('evaluate');

/** Draws pairs and searches, the same for all that judge a set by one seed. @throws UserError if the set is too small for them. */
export function drawProtocol(
  { labels, families }: Identities,
  {
    seed,
    genuines = SAMPLE_SIZES.genuines,
    impostors = SAMPLE_SIZES.impostors,
    probes: most = SAMPLE_SIZES.probes,
  }: ProtocolOptions,
): LabelledSetProtocol {
  const rng = evaluationRng(seed);
  return {
    labels,
    families,
    pairs: verificationPairs({ labels, families }, { genuines, impostors, rng: rng.split('1:1') }),
    split: identificationSplit({ labels, families }, rng.split('1:N'), { most }),
  };
}
