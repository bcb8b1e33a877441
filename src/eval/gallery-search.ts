import { rowProducts, scope, share, type Tensor, toFloat32, toFloat64 } from '../torch/index.ts';
import type { Searches } from './identification.ts';
import { eachProductBlock, emptyLike, selectedBlocks } from './product-blocks.ts';
import { cosine, isZeroRow, NO_SCORE, type Rows } from './scores.ts';
import { type EntryProducts, SearchTally } from './search-tally.ts';

/** Rows of length 1 (or zeros), flat [N · D], and the positions of the rows to use. */
export type SelectedRows<T extends Rows> = { readonly rows: T; readonly dim: number; readonly positions: Int32Array };

/** A gallery: `size` entries from `start` on, and each probe's entry in it, -1 if it has none. [P] */
export type GalleryPart = { readonly start: number; readonly size: number; readonly enrolled: Int32Array };

/** Bound for the error of a similarity: of both sums of D products of unit rows, in any order (Higham, Accuracy and Stability, 3.1). */
export const similarityRounding = (rows: Rows, dim: number): number =>
  2 * dim * (rows instanceof Float32Array ? 2 ** -24 : 2 ** -53);

/** Bytes of probes that are compared with all entries before the next ones are: the processor's last cache holds them. */
const PROBE_BYTES = 1 << 23;

/**
 * Searches of galleries with all `probes`. Galleries are parts of `entries`, and a probe is enrolled in one of them at most. If an entry
 * is as similar as the right one up to rounding, both are summed again in one order, so that equal entries tie wherever they lie. A
 * probe of zeros has no match, and no probe matches an entry of zeros.
 */
export class PartSearches<T extends Rows> {
  readonly #probes: SelectedRows<T>;
  readonly #entries: SelectedRows<T>;
  readonly #parts: readonly (GalleryPart & { readonly tally: SearchTally<T> })[];
  /** Each probe's own one among all entries, -1 if it has none. [P] */
  readonly #ownEntry: Int32Array;
  /** Marks entries of zeros. [E] */
  readonly #zero: Uint8Array;

  constructor(probes: SelectedRows<T>, entries: SelectedRows<T>, parts: readonly GalleryPart[]) {
    const { dim } = probes;
    [this.#probes, this.#entries] = [probes, entries];
    const [zeroProbe, zero] = [zeroMarks(probes), zeroMarks(entries)];
    this.#zero = zero;
    const zeros = [...zeroProbe.keys()].filter((probe) => zeroProbe[probe] === 1);
    this.#ownEntry = new Int32Array(probes.positions.length).fill(-1);
    for (const { start, enrolled } of parts)
      for (const [probe, entry] of enrolled.entries()) if (entry >= 0) this.#ownEntry[probe] = start + entry;
    const own = ownSimilarities(probes, entries, this.#ownEntry);
    for (const [probe, entry] of this.#ownEntry.entries())
      if (zeroProbe[probe] === 1 || zero[entry] === 1) own[probe] = NO_SCORE;
    const score = (probe: number, entry: number): number =>
      cosine(probes.rows, probes.positions[probe]!, entries.rows, entries.positions[entry]!, dim);
    const rounding = similarityRounding(probes.rows, dim);
    this.#parts = parts.map((part) => {
      const { start, size, enrolled } = part;
      const isTied = (probe: number, entry: number): boolean =>
        score(probe, start + entry) === score(probe, this.#ownEntry[probe]!);
      return { ...part, tally: new SearchTally(size, { enrolled, own, zeros }, { rounding, isTied }) };
    });
  }

  /** Takes products of some entries with all probes; each entry once. */
  take({ entries, rows, ...products }: EntryProducts<T>): void {
    for (const { start, size, tally } of this.#parts) {
      const within = entries.map((entry) =>
        entry >= start && entry < start + size && this.#zero[entry] === 0 ? 1 : 0,
      );
      const chosen = (of: Int32Array): Int32Array => of.filter((_, k) => within[k] === 1);
      tally.take({ ...products, rows: chosen(rows), entries: chosen(entries).map((entry) => entry - start) });
    }
  }

  /** Multiplies entries with all probes, some of both at a time, and takes that. */
  multiply(entries: Int32Array): this {
    const { rows: right, positions: probes, dim } = this.#probes;
    const { rows, positions } = this.#entries;
    const asked = entries.map((entry) => positions[entry]!);
    const step = Math.max(1, Math.floor(PROBE_BYTES / (dim * right.BYTES_PER_ELEMENT)));
    for (let firstProbe = 0; firstProbe < probes.length; firstProbe += step) {
      const order = probes.subarray(firstProbe, firstProbe + step);
      eachProductBlock(
        { left: selectedBlocks(rows, asked, dim), right, order, dim },
        ({ products, width, first, count }) => {
          const some = entries.subarray(first, first + count);
          const inOrder = some.map((_, row) => row);
          this.take({ products, width, rows: inOrder, entries: some, firstProbe });
        },
      );
    }
    return this;
  }

  /** What was found in the entries taken so far, in the order of the parts. */
  get searches(): Searches[] {
    return this.#parts.map(({ tally }) => tally.searches);
  }

  /** The same in all parts as one gallery. */
  get together(): Searches {
    return SearchTally.together(
      this.#parts.map(({ tally }) => tally),
      this.#ownEntry,
    ).searches;
  }
}

/** Searches parts of `entries` with all `probes`; see `PartSearches`. */
export const searchParts = <T extends Rows>(
  probes: SelectedRows<T>,
  entries: SelectedRows<T>,
  parts: readonly GalleryPart[],
): Searches[] => new PartSearches(probes, entries, parts).multiply(entries.positions.map((_, entry) => entry)).searches;

/** 1 where the row is zeros. */
const zeroMarks = <T extends Rows>({ rows, positions, dim }: SelectedRows<T>): Uint8Array =>
  Uint8Array.from(positions, (position) => (isZeroRow(rows, position * dim, dim) ? 1 : 0));

/** Similarity of each probe to its own entry, the same number as in all products; NaN where it has none. [P] */
function ownSimilarities<T extends Rows>(probes: SelectedRows<T>, entries: SelectedRows<T>, ownEntry: Int32Array): T {
  const mated = ownEntry.map((_, probe) => probe).filter((probe) => ownEntry[probe]! >= 0);
  const products = scope(() => {
    const matrix = ({ rows, dim }: SelectedRows<T>): Tensor => share(rows, { shape: [rows.length / dim, dim] });
    const asked = mated.map((probe) => probes.positions[probe]!);
    const own = mated.map((probe) => entries.positions[ownEntry[probe]!]!);
    const found = rowProducts(matrix(probes), share(asked), matrix(entries), share(own));
    return found.dtype === 'float32' ? toFloat32(found) : toFloat64(found);
  });
  const own = emptyLike(probes.rows, ownEntry.length).fill(Number.NaN) as T;
  for (const [i, probe] of mated.entries()) own[probe] = products[i]!;
  return own;
}
