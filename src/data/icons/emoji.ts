import { byCodeUnit } from '../class-folders.ts';
import type { IconSet } from './icon-set.ts';
import { type Thing, thingsOf } from './things.ts';

const TONES = ['light', 'medium-light', 'medium', 'medium-dark', 'dark'];

/**
 * The emoji that at least `drawings` sets draw, by name. Names are compared without hyphens, and names that a set calls the same
 * are one emoji. Variants by skin colour are skipped. If a set has several drawings of an emoji, the first by name counts.
 */
export function emojiOf(sets: readonly IconSet[], drawings: number): Thing[] {
  const same = new Synonyms();
  for (const { synonyms } of sets) for (const [a, b] of synonyms) same.join(key(a), key(b));
  const names = new Map(sets.map((set) => [set, new Set(set.names)]));
  return thingsOf(sets, {
    drawings,
    keyOf: (name, set) => (isSkinTone(name, names.get(set)!) ? undefined : same.first(key(name))),
    order: byCodeUnit,
    nameOf: (name) => name,
  });
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
