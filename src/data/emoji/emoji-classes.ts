import { byCodeUnit } from '../class-folders.ts';
import type { IconSet } from './icon-set.ts';

/** One emoji: what it is called, and its name in each set that has it, by the set's position. */
export type EmojiClass = { readonly name: string; readonly drawings: ReadonlyMap<number, string> };

const TONES = ['light', 'medium-light', 'medium', 'medium-dark', 'dark'];

/**
 * The things that at least `drawings` sets draw, by name. Names are compared without hyphens, and names that a set calls the same
 * are one thing. Variants by skin colour are skipped. If a set has several drawings of a thing, the first by name counts.
 */
export function emojiClasses(sets: readonly IconSet[], { drawings }: { readonly drawings: number }): EmojiClass[] {
  const same = new Synonyms();
  for (const { synonyms } of sets) for (const [a, b] of synonyms) same.join(key(a), key(b));
  const found = new Map<string, Map<number, string>>();
  for (const [at, { names }] of sets.entries()) {
    const all = new Set(names);
    for (const name of [...names].sort(byCodeUnit)) {
      if (isSkinTone(name, all)) continue;
      const thing = same.first(key(name));
      const of = found.get(thing) ?? new Map<number, string>();
      found.set(thing, of);
      if (!of.has(at)) of.set(at, name);
    }
  }
  return [...found.values()]
    .filter((of) => of.size >= drawings)
    .map((of) => ({ name: mostFrequent([...of.values()]), drawings: of }))
    .sort((a, b) => byCodeUnit(a.name, b.name));
}

const key = (name: string): string => name.replaceAll('-', '');

/** Whether `boy-dark` or `boy-dark-skin-tone` is one of five colours of `boy`: `police-car-light` is not. */
function isSkinTone(name: string, names: ReadonlySet<string>): boolean {
  if (name.includes('skin-tone')) return true;
  return TONES.some((tone) => {
    const parts = `-${name}-`.split(`-${tone}-`);
    return parts.length === 2 && TONES.every((other) => names.has(parts.join(`-${other}-`).slice(1, -1)));
  });
}

/** The name that most sets use, of equally frequent ones the first. */
function mostFrequent(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of [...names].sort(byCodeUnit)) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].reduce((best, next) => (next[1] > best[1] ? next : best))[0];
}

/** Names in classes of synonyms (union-find). */
class Synonyms {
  readonly #parents = new Map<string, string>();

  first(name: string): string {
    const parent = this.#parents.get(name);
    return parent === undefined ? name : this.first(parent);
  }

  join(a: string, b: string): void {
    const [x, y] = [this.first(a), this.first(b)];
    if (x !== y) this.#parents.set(x, y);
  }
}
