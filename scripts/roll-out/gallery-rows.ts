import { Rng } from '../../src/base/rng.ts';
import { FeatureSet } from '../../src/features/index.ts';

/** Rows that an application inserts later, and images that are only searched for. */
const [SPARE, QUERIES] = [1000, 500];

/** What a roll-out has to do with: images with their vectors by the old and the new model, some of them in the gallery at first. */
export class GalleryRows {
  /** Ids of the rows that are in the gallery at first, that are inserted later, and of those that are only searched for. */
  readonly gallery: readonly string[];
  readonly spare: readonly string[];
  readonly queries: readonly string[];
  readonly digests: { readonly old: string; readonly new: string };
  readonly dims: { readonly old: number; readonly new: number };
  readonly #old: FeatureSet;
  readonly #new: FeatureSet;
  readonly #rowOf = new Map<string, number>();

  constructor(old: string, newer: string, { rows, seed }: { readonly rows: number; readonly seed: number }) {
    this.#old = FeatureSet.open(old);
    this.#new = FeatureSet.open(newer);
    const { count } = this.#old.info;
    for (let row = 0; row < count; row++) {
      const id = this.#old.id(row)!;
      if (this.#new.id(row) !== id) throw new Error(`${old} and ${newer} are not of the same images`);
      this.#rowOf.set(id, row);
    }
    const ids = new Rng(seed).split('rows').sample([...Array(count).keys()], count).map((row) => this.#old.id(row)!); // biome-ignore format: short
    const size = Math.min(rows, count - SPARE - QUERIES);
    this.gallery = ids.slice(0, size);
    this.spare = ids.slice(size, size + SPARE);
    this.queries = ids.slice(size + SPARE, size + SPARE + QUERIES);
    this.digests = { old: this.#old.info.model!.digest, new: this.#new.info.model!.digest };
    this.dims = { old: this.#old.info.dim, new: this.#new.info.dim };
  }

  old(id: string): Float32Array {
    return this.#old.rows([this.#rowOf.get(id)!]);
  }

  new(id: string): Float32Array {
    return this.#new.rows([this.#rowOf.get(id)!]);
  }

  label(id: string): number {
    return this.#old.labels()[this.#rowOf.get(id)!]!;
  }
}

export const cosine = (a: Float32Array, b: Float32Array): number => {
  const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, value, d) => sum + value * y[d]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
};
