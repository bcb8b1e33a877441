import type { Table } from '@lancedb/lancedb';
import { type BesideIndex, besideIndex, everyRow } from './lance-beside.ts';
import { FORMER, keysFilter, type LanceGallery } from './lance-gallery.ts';
import { applicationRows, movedPairs } from './lance-moved.ts';
import { overtakenRows, type Swap, undoSwap } from './lance-swap.ts';
import { killedSwapError } from './requirements.ts';
import type { Stamp } from './stamp.ts';
import { versionOfVector } from './vectors.ts';

// A swap of all vectors may be killed at any moment. Whoever looks then tells by the vectors whether it has been; whoever goes on
// does what the killed process would have done after it.

/** Rows that tell which vectors a table has. */
const SAMPLE = 64;

/** The phase of a gallery of which a swap has begun. `former`: the table with the former vectors */
export async function phaseOf(table: Table, gallery: LanceGallery, former: Table): Promise<'moving' | 'cut-over'> {
  const sample = await former.query().where(everyRow).select(['id', 'version']).limit(SAMPLE).toArray();
  const fresh = new Map(sample.map(({ id, version }) => [String(id), String(version)]));
  return (await hasAny(table, gallery, fresh)) ? 'cut-over' : 'moving';
}

/** Whether a row has the vector of this version, by key. */
async function hasAny(table: Table, gallery: LanceGallery, versions: ReadonlyMap<string, string>): Promise<boolean> {
  const filter = keysFilter(gallery, [...versions.keys()]);
  if (filter === null) return false;
  for await (const rows of applicationRows(table, gallery, filter))
    if (rows.some(({ key, vector }) => versions.get(key) === versionOfVector(vector))) return true;
  return false;
}

/**
 * Finds the version that a swap made which has been. `after`: the version before it began; `beside`: the table with the vectors that it
 * gave. `version` is null if it is not known, or the application has removed the versions of that time.
 */
export async function findSwap(
  table: Table,
  gallery: LanceGallery,
  after: number | null,
  beside: Table,
): Promise<{ readonly version: number | null; readonly renamed: boolean }> {
  const hasFormer = async (): Promise<boolean> => (await table.schema()).fields.some(({ name }) => name === FORMER);
  const renamed = await hasFormer();
  const there = new Set((await table.listVersions()).map(({ version }) => version));
  let found: number | null = null;
  if (after !== null && there.has(after)) {
    await table.checkout(after);
    const given = renamed ? new Map() : await givenVersions(table, gallery, beside);
    for (let version = after + 1; found === null && there.has(version); version++) {
      await table.checkout(version);
      if (await (renamed ? hasFormer() : hasAny(table, gallery, given))) found = version;
    }
    await table.checkoutLatest();
  }
  return { version: found, renamed };
}

/** The versions of the vectors that some rows are to get, by key. */
async function givenVersions(table: Table, gallery: LanceGallery, beside: Table): Promise<Map<string, string>> {
  const given = new Map<string, string>();
  for await (const pairs of movedPairs(table, gallery, beside))
    for (const { key, version, beside: vector } of pairs) {
      if (versionOfVector(vector) !== version) given.set(key, versionOfVector(vector));
      if (given.size === SAMPLE) return given;
    }
  return given;
}

/** A swap that has been. */
export type DoneSwap = {
  readonly url: string;
  readonly table: Table;
  /** As it was before the swap. */
  readonly gallery: LanceGallery;
  readonly swap: Swap;
  /** The table with the vectors that it gave. */
  readonly beside: Table;
  /** The table with the versions of these vectors. */
  readonly given: Table;
  /** What these vectors are of. */
  readonly stamp: Stamp;
};

/**
 * Takes a swap back if rows overtook it. → the number of these rows
 * @throws UserError that names them if rows were written since whose vectors would be lost; then nothing is changed
 */
export async function undoIfOvertaken({ url, table, gallery, swap, beside, given, stamp }: DoneSwap): Promise<number> {
  const overtaken = await overtakenRows(table, gallery, swap, beside);
  if (overtaken.size === 0) return 0;
  const index = await besideIndex(given, everyRow);
  const { late, since } = await rowsSince(table, gallery, swap, overtaken, index);
  if (late.length > 0 && since > 0) throw killedSwapError(url, late, since, stamp);
  if (late.length > 0) await undoSwap(table, gallery, swap, index);
  return late.length;
}

/** Of the rows that a swap overtook, those that are still as it left them; and the number of rows that lose their vector if it is taken back. */
async function rowsSince(
  table: Table,
  gallery: LanceGallery,
  { renamed }: Swap,
  overtaken: ReadonlyMap<string, string>,
  given: BesideIndex,
): Promise<{ readonly late: string[]; readonly since: number }> {
  const late: string[] = [];
  let since = 0;
  for await (const rows of applicationRows(table, gallery))
    for (const { key, vector } of rows) {
      const version = versionOfVector(vector);
      const own = vector !== null && !given.has(key, version);
      if (overtaken.has(key) && (!own || overtaken.get(key) === version)) late.push(key);
      else if (own && renamed && vector.length !== gallery.dim) since++;
    }
  return { late, since };
}
