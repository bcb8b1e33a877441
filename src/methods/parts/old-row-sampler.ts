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
    const all = this.#rows(old);
    const wanted = labels.flatMap((label) => Array.from({ length: count }, () => label));
    return this.#take(old, wanted.map((label) => all[label]![rng.integer(all[label]!.length)]!), wanted); // biome-ignore format: one line
  }

  /** All old embeddings, or `count` draws of them if there are more. */
  draw(old: OldRows, rng: Rng, count: number) {
    const all = this.#rows(old);
    const total = all.reduce((sum, { length }) => sum + length, 0);
    if (total <= count) {
      const labels = all.flatMap((rows, label) => Array.from(rows, () => label));
      return this.#take(old, all.flatMap((rows) => [...rows]), labels); // biome-ignore format: one line
    }
    const places = Array.from({ length: count }, () => rng.integer(total)).sort((a, b) => a - b);
    let [label, start] = [0, 0];
    const drawn = places.map((place) => {
      while (place >= start + all[label]!.length) start += all[label++]!.length;
      return { label, row: all[label]![place - start]! };
    });
    return this.#take(old, drawn.map(({ row }) => row), drawn.map(({ label }) => label)); // biome-ignore format: one line
  }

  #rows(old: OldRows): readonly Int32Array[] {
    this.#byClass ??= old.byClass();
    return this.#byClass;
  }

  #take(old: OldRows, rows: readonly number[], labels: readonly number[]): { rows: Tensor; labels: readonly number[] } {
    return { rows: normalizeRows(tensor(old.rows(rows), { shape: [rows.length, this.#dim] })), labels };
  }
}
