import { UserError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';

/** Who is on each picture of an evaluation set: class ids and family ids (-1: a family of its own). [N] each */
export type Identities = { readonly labels: Int32Array; readonly families: Int32Array };

/** Pairs (gallery side, query side) of positions in the evaluation set. */
export type Pairs = { readonly gallery: Int32Array; readonly query: Int32Array };
export type VerificationProtocol = {
  readonly genuine: Pairs;
  readonly impostor: Pairs;
  readonly allImpostors: boolean;
};

/** Two pictures of one family share a style, or a session: comparing them would flatter. */
const apart = ({ families }: Identities, a: number, b: number): boolean =>
  families[a] !== families[b] || families[a]! < 0;

class PairList {
  readonly #gallery: number[] = [];
  readonly #query: number[] = [];
  /** Which of the two is in the gallery is drawn, so that neither side has the earlier pictures. */
  add(a: number, b: number, rng: Rng): void {
    const swap = rng.uniform() < 0.5;
    this.#gallery.push(swap ? b : a);
    this.#query.push(swap ? a : b);
  }
  done(): Pairs {
    return { gallery: Int32Array.from(this.#gallery), query: Int32Array.from(this.#query) };
  }
}

/**
 * 1:1 verification across families: every genuine pair, and `impostors` impostor pairs drawn by seed, or all of them if there
 * are not more. Every model is judged on the same pairs, so that differences between models are paired.
 * @throws UserError if there is no genuine pair.
 */
export function verificationPairs(
  identities: Identities,
  { impostors, rng }: { readonly impostors: number; readonly rng: Rng },
): VerificationProtocol {
  const { labels } = identities;
  const n = labels.length;
  const [genuine, direction] = [new PairList(), rng.split('direction')];
  const positions = new Map<number, number[]>();
  for (const [i, label] of labels.entries()) {
    const others = positions.get(label) ?? [];
    for (const j of others) if (apart(identities, i, j)) genuine.add(j, i, direction);
    others.push(i);
    positions.set(label, others);
  }
  const pairs = genuine.done();
  if (pairs.gallery.length === 0)
    throw new UserError(
      'no class of the evaluation set has two pictures of different families: there is nothing to verify',
    );
  if (positions.size < 2) throw new UserError('the evaluation set has one class: there are no impostors');
  const allImpostors = (n * (n - 1)) / 2 <= impostors;
  const impostor = new PairList();
  if (allImpostors) {
    for (let a = 0; a < n; a++)
      for (let b = a + 1; b < n; b++)
        if (labels[a] !== labels[b] && apart(identities, a, b)) impostor.add(a, b, direction);
  } else {
    const draw = rng.split('impostors');
    let tries = 0;
    for (let found = 0; found < impostors && tries < 100 * impostors; tries++) {
      const [a, b] = [draw.integer(n), draw.integer(n)];
      if (labels[a] === labels[b] || !apart(identities, a, b)) continue;
      impostor.add(a, b, direction);
      found++;
    }
  }
  const chosen = impostor.done();
  if (chosen.gallery.length === 0)
    throw new UserError('no two classes of the evaluation set meet across families: there are no impostors');
  return { genuine: pairs, impostor: chosen, allImpostors };
}

/** One gallery: an entry for each enrolled identity, and for each probe its identity's entry, or -1. */
export type Gallery = { readonly entries: Int32Array; readonly enrolled: Int32Array };
export type IdentificationProtocol = { readonly probes: Int32Array; readonly galleries: readonly [Gallery, Gallery] };

/**
 * Open-set 1:N identification (methods.md 6.6): one picture of each identity is its gallery entry, the pictures of the other
 * families are probes. A half of the identities, drawn by seed, is enrolled in the first gallery, the other half in the
 * second, and every probe searches both. Where families are known, half of them, drawn by seed, make gallery entries and
 * the others probes, so that no probe meets an entry of its own family.
 */
export function identificationSplit({ labels, families }: Identities, rng: Rng): IdentificationProtocol {
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
  const probes = Int32Array.from(labels.keys()).filter(isProbe);
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
    galleries: [gallery((label) => enrolledFirst.has(label)), gallery((label) => !enrolledFirst.has(label))],
  };
}
