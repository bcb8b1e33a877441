import { byCodeUnit } from '../class-folders.ts';
import type { IconSet } from './icon-set.ts';

/** What several sets draw: what it is called, and its name in each set that has it, by the set's position. */
export type Thing = { readonly name: string; readonly drawings: ReadonlyMap<number, string> };

/** How the names of sets are compared. */
type Naming = {
  /** Sets that must draw a thing for it to count. */
  readonly drawings: number;
  /** What a name of a set means. Equal keys are one thing; undefined is none. */
  readonly keyOf: (name: string, set: IconSet) => string | undefined;
  /** Which of two names of one thing in one set counts. */
  readonly order: (a: string, b: string) => number;
  /** The part of a name that a thing is called by; the most frequent one is its name. */
  readonly nameOf: (name: string) => string;
};

/** The things that at least `drawings` sets draw, by name. If a set has several drawings of a thing, the first in `order` counts. */
export function thingsOf(sets: readonly IconSet[], { drawings, keyOf, order, nameOf }: Naming): Thing[] {
  const found = new Map<string, Map<number, string>>();
  for (const [at, set] of sets.entries())
    for (const name of [...set.names].sort(order)) {
      const key = keyOf(name, set);
      if (key === undefined) continue;
      const of = found.get(key) ?? new Map<number, string>();
      found.set(key, of);
      if (!of.has(at)) of.set(at, name);
    }
  return [...found.values()]
    .filter((of) => of.size >= drawings)
    .map((of) => ({ name: mostFrequent([...of.values()].map(nameOf)), drawings: of }))
    .sort((a, b) => byCodeUnit(a.name, b.name));
}

/** Of equally frequent names the first. */
function mostFrequent(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of [...names].sort(byCodeUnit)) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].reduce((best, next) => (next[1] > best[1] ? next : best))[0];
}
