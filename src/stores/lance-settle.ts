import type { Table } from '@lancedb/lancedb';
import { type BesideIndex, type BesideRow, besideIndex, besideKeys, besideRows, everyRow } from './lance-beside.ts';
import { FORMER, keysFilter, type LanceGallery } from './lance-gallery.ts';
import { applicationRows, movedPairs } from './lance-moved.ts';
import { overtakenRows, type Swap, undoSwap } from './lance-swap.ts';
import type { MigrationRecord } from './migration-record.ts';
import { overtakenSwapError } from './requirements.ts';
import type { Stamp } from './stamp.ts';
import { versionOfVector } from './vectors.ts';

// A swap of all vectors may be killed at any moment. Whoever looks then tells by the vectors whether it has been; whoever goes on
// does what the killed process would have done after it.

/** Rows that are looked at together at first. */
const SAMPLE = 64;
/** So many more rows with vectors of one phase than of the other tell it without the others. */
const LEAD = SAMPLE / 2;

/**
 * The phase of a gallery of which a swap has begun, by rows that the application's table has now: others are no sign that the swap has
 * not been. Most of them tell, because the application may have given a row its former vector. `former`: the table with the former
 * vectors; `before`: the phase before the swap, which stays if no row tells
 */
export async function phaseOf(
  table: Table,
  gallery: LanceGallery,
  former: Table,
  before: MigrationRecord['phase'],
): Promise<MigrationRecord['phase']> {
  let [lead, step] = [0, SAMPLE];
  for await (const rows of applicationRows(table, gallery))
    for (let from = 0; from < rows.length; ) {
      const some = rows.slice(from, from + step);
      const kept = new Map<string, BesideRow>();
      for await (const row of besideRows(former, besideKeys(some.map(({ key }) => key)))) kept.set(row.key, row);
      for (const { key, vector } of some) lead += signOf(versionOfVector(vector), kept.get(key));
      if (Math.abs(lead) >= LEAD) return lead > 0 ? 'cut-over' : 'moving';
      from += some.length;
      step *= 2; // each look reads all ids of `former`
    }
  return lead === 0 ? before : lead > 0 ? 'cut-over' : 'moving';
}

/** What the version of a row tells: 1: it has its new vector; -1: its former one, which `kept` holds; 0: nothing */
function signOf(version: string, kept: BesideRow | undefined): -1 | 0 | 1 {
  const former = kept && versionOfVector(kept.vector);
  if (kept?.version === former) return 0;
  return version === kept?.version ? 1 : version === former ? -1 : 0;
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
  /** Whether another process has made it, which was killed: then the application may have read the phase after it, and written by that. */
  readonly settling: boolean;
};

/**
 * Takes a swap back if rows overtook it. → the number of these rows
 * @throws UserError that names them if rows were written since whose vectors would be lost; then nothing is changed
 */
export async function undoIfOvertaken(done: DoneSwap): Promise<number> {
  const { url, table, gallery, swap, beside, given, stamp, settling } = done;
  const overtaken = await overtakenRows(table, gallery, swap, beside);
  if (overtaken.size === 0) return 0;
  const index = await besideIndex(given, everyRow);
  const { late, since } = await rowsSince(done, overtaken, index);
  if (late.length > 0 && since > 0) throw overtakenSwapError(url, { late, since, stamp, settling });
  if (late.length > 0) await undoSwap(table, gallery, swap, index);
  return late.length;
}

/**
 * Of the rows that a swap overtook, those that are still as it left them; and the number of rows that forbid to take it back: they would
 * lose their vector, or keep one of the other model.
 */
async function rowsSince(
  { table, gallery, swap, settling }: DoneSwap,
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
      else if (own && (settling || (swap.renamed && vector.length !== gallery.dim))) since++;
    }
  return { late, since };
}
