import { scope, share, type Tensor, tallySearches_, toInt32 } from '../torch/index.ts';
import { NEVER_FOUND, type Searches } from './identification.ts';
import { emptyLike } from './product-blocks.ts';
import { NO_SCORE, type Rows } from './scores.ts';

/** Probes of a gallery with one entry per identity. */
export type GalleryProbes<T extends Rows> = {
  /** Each probe's entry in the gallery, -1 if it has none. [P] */
  readonly enrolled: Int32Array;
  /**
   * Its similarity to its entry in this gallery, or in another one that is searched together with it; `NO_SCORE` if the probe or the
   * entry is zeros, NaN where it has none. [P]
   */
  readonly own: T;
  /** Probes that are zeros: nothing is similar to them. */
  readonly zeros?: readonly number[];
};

/**
 * Tells equal entries from nearly equal ones. A product of matrices is off by up to `rounding`, depending on the position in it.
 * `isTied` says whether an entry of the gallery is exactly as similar to a probe as the probe's own.
 */
export type TieCheck = { readonly rounding: number; readonly isTied: (probe: number, entry: number) => boolean };

/** Products of some entries with the probes. */
export type EntryProducts<T extends Rows> = {
  /** Flat, `width` numbers in a row. */
  readonly products: T;
  readonly width: number;
  /** Entries of the gallery, and the row that each has in `products`. [K] each */
  readonly entries: Int32Array;
  readonly rows: Int32Array;
  /** The column of each probe; if absent, the columns are those of the probes from `firstProbe` on, in order. [P] */
  readonly columns?: Int32Array | undefined;
  readonly firstProbe?: number;
};

/**
 * Searches a gallery entry by entry: nothing is kept of an entry that has been taken, so that products are needed once, in whatever order.
 * An entry whose similarity is NaN counts as more similar than any other.
 */
export class SearchTally<T extends Rows> {
  readonly #size: number;
  readonly #probes: GalleryProbes<T>;
  readonly #check: TieCheck;
  /** NaN where no entry can be ahead: the probe is not enrolled, or never found. [P] */
  readonly #own: T;
  readonly #best: T;
  readonly #ahead: Int32Array;
  readonly #equal: Int32Array;

  constructor(size: number, probes: GalleryProbes<T>, check: TieCheck = { rounding: 0, isTied: () => false }) {
    const { own } = probes;
    this.#size = size;
    this.#probes = probes;
    this.#check = check;
    this.#own = own.map((value) => (value === NO_SCORE ? Number.NaN : value)) as T;
    this.#best = own.map(() => NO_SCORE) as T;
    this.#ahead = new Int32Array(own.length);
    this.#equal = new Int32Array(own.length);
  }

  /** Several galleries as one; `enrolled` [P] gives each probe's entry among all of them. */
  static together<T extends Rows>(galleries: readonly SearchTally<T>[], enrolled: Int32Array): SearchTally<T> {
    const size = galleries.reduce((sum, gallery) => sum + gallery.#size, 0);
    const all = new SearchTally(size, { ...galleries[0]!.#probes, enrolled });
    for (const gallery of galleries)
      for (let probe = 0; probe < enrolled.length; probe++) {
        all.#best[probe] = Math.max(all.#best[probe]!, gallery.#best[probe]!);
        all.#ahead[probe]! += gallery.#ahead[probe]!;
        all.#equal[probe]! += gallery.#equal[probe]!;
      }
    return all;
  }

  /** Takes entries that are no zeros; each one once for each probe. */
  take({ products, width, entries, rows, columns, firstProbe = 0 }: EntryProducts<T>): void {
    const asked = columns?.length ?? width;
    if (entries.length === 0 || asked === 0) return;
    const { rounding, isTied } = this.#check;
    const part = (of: Rows | Int32Array): Tensor => share(of.subarray(firstProbe, firstProbe + asked));
    const close = scope(() =>
      toInt32(
        tallySearches_(
          { best: part(this.#best), ahead: part(this.#ahead), equal: part(this.#equal) },
          {
            products: share(products, { shape: [products.length / width, width] }),
            ...{ rows: share(rows), entries: share(entries), columns: columns ? share(columns) : null },
            ...{ own: part(this.#own), ownEntry: part(this.#probes.enrolled), rounding },
          },
        ),
      ),
    );
    for (let i = 0; i < close.length; i += 2) {
      const [k, column] = [close[i]!, close[i + 1]!];
      const probe = firstProbe + column;
      const tied = isTied(probe, entries[k]!);
      if (tied) this.#equal[probe]!++;
      if (tied || products[rows[k]! * width + (columns?.[column] ?? column)]! > this.#own[probe]!)
        this.#ahead[probe]!++;
    }
  }

  /** What the probes have found in the entries taken so far. */
  get searches(): Searches {
    const { enrolled, zeros = [] } = this.#probes;
    const best = Float64Array.from(this.#best);
    for (const probe of zeros) best[probe] = NO_SCORE;
    const ifEnrolled = (of: Int32Array, never: number, none: number): Int32Array =>
      of.map((n, p) => (enrolled[p]! < 0 ? none : Number.isNaN(this.#own[p]!) ? never : n));
    return {
      size: this.#size,
      own: Float64Array.from(this.#own, (own, p) =>
        enrolled[p]! < 0 ? Number.NaN : Number.isNaN(own) ? NO_SCORE : own,
      ),
      best,
      ahead: ifEnrolled(this.#ahead, NEVER_FOUND, -1),
      equal: ifEnrolled(this.#equal, 0, 0),
    };
  }
}

/** The columns of a gallery in rows of similarities: `size` entries from `start` on, of `stride` in a row. */
export type GalleryColumns = { readonly size: number; readonly start?: number; readonly stride?: number };

/**
 * Searches a gallery whose similarities are all there. `similarity` [P · stride] row-major, further rows are ignored; `enrolled` [P]
 * gives each probe's entry in the gallery, -1 if it has none.
 */
export function search<T extends Rows>(
  similarity: T,
  enrolled: Int32Array,
  { size, start = 0, stride = size }: GalleryColumns,
  check?: TieCheck,
): Searches {
  const width = enrolled.length;
  const at = (probe: number, entry: number): number => similarity[probe * stride + start + entry]!;
  const own = emptyLike(similarity, width);
  for (const [probe, entry] of enrolled.entries()) own[probe] = entry < 0 ? Number.NaN : at(probe, entry);
  const products = emptyLike(similarity, width * size);
  for (let entry = 0; entry < size; entry++)
    for (let probe = 0; probe < width; probe++) products[entry * width + probe] = at(probe, entry);
  const tally = new SearchTally(size, { enrolled, own }, check);
  const entries = Int32Array.from({ length: size }, (_, entry) => entry);
  tally.take({ products, width, rows: entries, entries });
  return tally.searches;
}
