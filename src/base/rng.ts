import { createHash } from 'node:crypto';
import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';

/**
 * One seed, split by label. A stream's numbers depend on its path of labels alone, so a new consumer never changes what
 * another one draws, and any position of a run (epoch 3, step 17) can be drawn from again without replaying the past.
 */
export class Rng {
  readonly #key: string;
  #generator: RandomGenerator | undefined;

  constructor(seed: number | string) {
    this.#key = String(seed);
  }

  /** An independent stream named by `labels`, for example `rng.split('mix', epoch, step)`. */
  split(...labels: readonly (string | number)[]): Rng {
    return new Rng([this.#key, ...labels].join('/'));
  }

  #digest(): Buffer {
    return createHash('sha256').update(this.#key).digest();
  }

  /** A seed for a generator of libtorch: whole number in [0, 2^53). */
  seed(): number {
    return Number(this.#digest().readBigUInt64LE(0) >> 11n);
  }

  /** Uniform in [0, 1), 32 bits of it. */
  uniform(): number {
    if (!this.#generator) {
      const state = this.#digest();
      this.#generator = xoroshiro128plusFromState([0, 4, 8, 12].map((at) => state.readInt32LE(at)));
    }
    return (this.#generator.next() >>> 0) / 2 ** 32;
  }

  /** Uniform whole number in [0, below). */
  integer(below: number): number {
    return Math.floor(this.uniform() * below);
  }

  /** `count` distinct elements of `items` (all of them, reordered, if there are fewer), each subset equally likely. */
  sample(items: ArrayLike<number>, count: number): number[] {
    const pool = Array.from(items);
    const wanted = Math.min(count, pool.length);
    for (let i = 0; i < wanted; i++) {
      const j = i + this.integer(pool.length - i);
      [pool[i], pool[j]] = [pool[j]!, pool[i]!];
    }
    return pool.slice(0, wanted);
  }
}
