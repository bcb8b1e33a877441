import { UserError } from '../base/errors.ts';
import { type GroupedPositions, groupPositions } from '../base/group-positions.ts';
import type { Enrolment } from '../data/index.ts';
import { PartSearches } from './gallery-search.ts';
import type { Searches } from './identification.ts';
import type { ProductBlock, ProductUser } from './product-blocks.ts';
import { type Templates, templatePositions } from './templates.ts';

export type GallerySearches = {
  /** The searches of each gallery with all probes. */
  readonly searches: readonly Searches[];
  /** The searches of all galleries at once. */
  readonly mixed: Searches;
};

/**
 * Open-set 1:N identification with templates (methods.md 6.6): every probe searches every gallery. In a cross-test the gallery
 * entries are the old model's, the probes the new one's. The pairs of 1:1 need products of the same templates, which are used (`taker`)
 * where they are made.
 * @throws UserError if two entries of a gallery show one subject, or a subject is in two galleries: ranks and false
 * positives of its probes would not be defined.
 */
export class TemplateSearches implements ProductUser<Float64Array> {
  /** Positions of all probes in the query's templates. */
  readonly columns: Int32Array;
  readonly #parts: PartSearches<Float64Array>;
  /** The entries of each template of the gallery. */
  readonly #entriesOf: GroupedPositions;
  /** Marks templates of the gallery whose products have been taken. */
  readonly #taken: Uint8Array;

  constructor(gallery: Templates, query: Templates, galleries: readonly Enrolment[], probes: Enrolment) {
    if (gallery.dim !== query.dim)
      throw new UserError(`templates of ${gallery.dim} and of ${query.dim} dimensions cannot be compared`);
    const entryOf = new Map<number, number>();
    for (const subject of galleries.flatMap(({ subjects }) => Array.from(subjects))) {
      if (entryOf.has(subject)) throw new UserError(`subject ${subject} has two gallery entries, wanted one`);
      entryOf.set(subject, entryOf.size);
    }
    const sizes = galleries.map(({ templates }) => templates.length);
    const starts = sizes.map((_, g) => sizes.slice(0, g).reduce((sum, size) => sum + size, 0));
    const enrolled = Int32Array.from(probes.subjects, (subject) => entryOf.get(subject) ?? -1);
    const all = galleries.flatMap(({ templates }) => Array.from(templates));
    const within = (start: number, size: number): Int32Array =>
      enrolled.map((entry) => (entry >= start && entry < start + size ? entry - start : -1));
    const positions = templatePositions(gallery, all);
    this.columns = templatePositions(query, probes.templates);
    this.#entriesOf = groupPositions(positions.length, gallery.ids.length, (entry) => positions[entry]!);
    this.#taken = new Uint8Array(gallery.ids.length);
    this.#parts = new PartSearches(
      { ...query, positions: this.columns },
      { ...gallery, positions },
      sizes.map((size, g) => ({ start: starts[g]!, size, enrolled: within(starts[g]!, size) })),
    );
  }

  taker(rows: Int32Array, columnOf: Int32Array): (block: ProductBlock<Float64Array>) => void {
    const columns = this.columns.map((position) => columnOf[position]!);
    return ({ products, width, first, count }) => {
      const found: { readonly entries: number[]; readonly rows: number[] } = { entries: [], rows: [] };
      for (let row = 0; row < count; row++)
        for (const entry of this.#take(rows[first + row]!)) {
          found.entries.push(entry);
          found.rows.push(row);
        }
      const [entries, places] = [Int32Array.from(found.entries), Int32Array.from(found.rows)];
      this.#parts.take({ products, width, rows: places, entries, columns });
    };
  }

  /** What was found; multiplies the probes with those entries that nobody has. */
  get found(): GallerySearches {
    const missing = [...this.#taken.keys()].flatMap((template) => Array.from(this.#take(template)));
    this.#parts.multiply(Int32Array.from(missing));
    return { searches: this.#parts.searches, mixed: this.#parts.together };
  }

  /** The entries of a template of the gallery, the first time it is asked for. */
  #take(template: number): Int32Array {
    const { order, starts } = this.#entriesOf;
    const from = this.#taken[template] === 1 ? starts[template + 1] : starts[template];
    this.#taken[template] = 1;
    return order.subarray(from, starts[template + 1]);
  }
}
