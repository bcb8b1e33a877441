import type { Rng } from '../../base/rng.ts';
import { normalizeRows, type Tensor, tensor } from '../../torch/index.ts';
import type { OldRows } from '../method.ts';

/** Draws rows of length 1 from the old embeddings of the whole set. */
export class OldRowSampler {
  #byClass: readonly Int32Array[] | undefined;
  readonly #dim: number;

  constructor(dim: number) {
    this.#dim = dim;
  }

  /** `count` old embeddings of each label, one label after the other; some may be the same. */
  drawOf(old: OldRows, rng: Rng, labels: readonly number[], count: number) {
    return this.#draw(old, rng, labels.flatMap((label) => Array.from({ length: count }, () => label))); // biome-ignore format: one line
  }

  /** `count` old embeddings of the whole set, of classes in proportion to their sizes; some may be the same. */
  draw(old: OldRows, rng: Rng, count: number) {
    const sizes = this.#rows(old).map(({ length }) => length);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const places = Array.from({ length: count }, () => rng.integer(total)).sort((a, b) => a - b);
    let [label, end] = [0, sizes[0]!];
    const labels = places.map((place) => {
      while (place >= end) end += sizes[++label]!;
      return label;
    });
    return this.#draw(old, rng, labels);
  }

  #rows(old: OldRows): readonly Int32Array[] {
    this.#byClass ??= old.byClass();
    return this.#byClass;
  }

  #draw(old: OldRows, rng: Rng, labels: readonly number[]): { rows: Tensor; labels: readonly number[] } {
    const all = this.#rows(old);
    const rows = labels.map((label) => all[label]![rng.integer(all[label]!.length)]!);
    return { rows: normalizeRows(tensor(old.rows(rows), { shape: [rows.length, this.#dim] })), labels };
  }
}
