import { UserError } from '../base/errors.ts';
import { type Searches, search } from './identification.ts';
import { eachProductBlock, takeRows } from './products.ts';
import { type Templates, templatePositions } from './templates.ts';

/** Templates, each once, and whom they show. [T] each */
export type Enrolment = { readonly templates: Int32Array; readonly subjects: Int32Array };

export type GallerySearches = {
  /** The searches of each gallery with all probes. */
  readonly searches: readonly Searches[];
  /** How many entries of all galleries together are more similar than the probe's own one; -1 where it has none. [P] */
  readonly aheadOfAll: Int32Array;
};

/**
 * Open-set 1:N identification with templates (methods.md 6.6): every probe searches every gallery. Gallery entries are of the
 * old model in a cross test, probes always of the new one. Similarities are made in blocks of probes and never sorted.
 * @throws UserError if two entries of a gallery show one subject, or a subject is in two galleries: ranks and alarms of its
 * probes would not be defined.
 */
export function searchGalleries(
  gallery: Templates,
  query: Templates,
  galleries: readonly Enrolment[],
  probes: Enrolment,
): GallerySearches {
  if (gallery.dim !== query.dim)
    throw new UserError(`templates of ${gallery.dim} and of ${query.dim} dimensions cannot be compared`);
  const entryOf = new Map<number, number>();
  for (const subject of galleries.flatMap(({ subjects }) => Array.from(subjects))) {
    if (entryOf.has(subject)) throw new UserError(`subject ${subject} has two gallery entries, wanted one`);
    entryOf.set(subject, entryOf.size);
  }
  const sizes = galleries.map(({ templates }) => templates.length);
  const starts = sizes.map((_, g) => sizes.slice(0, g).reduce((sum, size) => sum + size, 0));
  const count = probes.templates.length;
  const entries = Int32Array.from(probes.subjects, (subject) => entryOf.get(subject) ?? -1);
  const enrolled = sizes.map((size, g) =>
    entries.map((entry) => (entry >= starts[g]! && entry < starts[g]! + size ? entry - starts[g]! : -1)),
  );
  const searches = sizes.map((size) => ({
    size,
    own: new Float64Array(count),
    best: new Float64Array(count),
    ahead: new Int32Array(count),
  }));
  const aheadOfAll = new Int32Array(count);
  const rowsOf = (templates: Templates, ids: ArrayLike<number>): Float64Array =>
    takeRows(templates.rows, templatePositions(templates, ids), templates.dim);
  const all = galleries.flatMap(({ templates }) => Array.from(templates));
  const stride = all.length;
  eachProductBlock(rowsOf(query, probes.templates), rowsOf(gallery, all), query.dim, (similarity, from, block) => {
    const part = <T extends Int32Array>(of: T): T => of.subarray(from, from + block) as T;
    for (const [g, size] of sizes.entries()) {
      const found = search(similarity, part(enrolled[g]!), { size, stride, start: starts[g]! });
      searches[g]!.own.set(found.own, from);
      searches[g]!.best.set(found.best, from);
      searches[g]!.ahead.set(found.ahead, from);
    }
    aheadOfAll.set(search(similarity, part(entries), { size: stride, stride, start: 0 }).ahead, from);
  });
  return { searches, aheadOfAll };
}
