// What test/golden/make_ten_steps.py trains on, from the same formulas.
import { Rng } from '../../src/base/rng.ts';

export const [B, C, D, SIDE, STEPS] = [16, 10, 16, 32, 10];
/** Dimension of the old embeddings where there is a projection. */
export const P = 12;

/** `noise` of make_ten_steps.py. */
export function noise(count: number, stream: number, scale: number): Float64Array {
  return Float64Array.from({ length: count }, (_, k) => {
    const value = Math.sin(12.9898 * (k + 1) + 78.233 * stream) * 43758.5453;
    return scale * (value - Math.floor(value) - 0.5);
  });
}

/** The batches of make_ten_steps.py. */
export function batchOf(step: number) {
  const labels = Int32Array.from({ length: B }, (_, i) => (step * 7 + 3 * i) % C);
  const size = SIDE * SIDE * 3;
  const images = new Uint8Array(B * size);
  for (const [i, label] of labels.entries()) {
    const [pattern, grain] = [noise(size, 1000 + label, 100), noise(size, 2000 + B * step + i, 100)];
    images.set(
      pattern.map((value, k) => Math.floor(127.5 + value + grain[k]!)),
      i * size,
    );
  }
  return { images, labels, indices: Int32Array.from({ length: B }, (_, i) => i) };
}

/** Mixes the rows of make_ten_steps.py. */
export class ChosenRows extends Rng {
  readonly #step: number;
  constructor(step: number) {
    super(step);
    this.#step = step;
  }
  /** Parts of a composition draw from copies. */
  override split(...labels: readonly (string | number)[]): Rng {
    return labels.length === 0 ? this : super.split(...labels);
  }
  override sample(_: ArrayLike<number>, count: number): number[] {
    return Array.from({ length: count }, (__, k) => (3 * this.#step + 5 * k) % B);
  }
}
