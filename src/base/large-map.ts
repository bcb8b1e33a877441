/** Entries that a `Map` of V8 holds at most; one more is a RangeError. */
const MOST = 2 ** 24;

/** A map of any number of entries. `most`: entries of each of the maps that it consists of. */
export class LargeMap<K, V extends NonNullable<unknown>> {
  readonly #maps = [new Map<K, V>()];
  readonly #most: number;

  constructor(most = MOST) {
    this.#most = most;
  }

  get(key: K): V | undefined {
    for (const map of this.#maps) {
      const value = map.get(key);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  has(key: K): boolean {
    return this.get(key) !== undefined;
  }

  set(key: K, value: V): void {
    const known = this.#maps.find((map) => map.has(key));
    if (!known && this.#maps.at(-1)!.size === this.#most) this.#maps.push(new Map());
    (known ?? this.#maps.at(-1)!).set(key, value);
  }
}

/** Where each entry of a list of any length stands; the last place, if there are several. */
export function positionsIn(entries: readonly string[]): LargeMap<string, number> {
  const positions = new LargeMap<string, number>();
  for (const [position, entry] of entries.entries()) positions.set(entry, position);
  return positions;
}

/** The entries of a list of any length that occur before, too. `most`: as of `LargeMap`. */
export function repeatedIn(entries: readonly string[], most?: number): string[] {
  const seen = new LargeMap<string, true>(most);
  return entries.filter((entry) => {
    const repeated = seen.has(entry);
    if (!repeated) seen.set(entry, true);
    return repeated;
  });
}
