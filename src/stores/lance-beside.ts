import type { Connection, Table } from '@lancedb/lancedb';
import type * as Arrow from 'apache-arrow';
import { digestOf } from '../artifacts/digest.ts';
import { LargeMap } from '../base/large-map.ts';
import type { JournalEntry } from './gallery-store.ts';
import { arrowTable, quotedText, vectorsOf } from './lance-driver.ts';
import { migratingGalleries } from './lance-record.ts';

// Tables with the second vectors of a gallery's rows. Each row has the version of the application's vector that it counts for, so
// that what the application changes needs no notice: a row beside with another version is none. An entry of the journal is a row of
// its own, without id, so that it is appended together with the vectors of its batch.

/** Names of the tables beside. `beside`: the new model's vectors. `former`: after the cut-over, the old model's. */
export type BesideNames = { readonly beside: string; readonly former: string };

const namesEnding = (end: string): BesideNames => ({ beside: `mixbct_beside_${end}`, former: `mixbct_former_${end}` });

/** Names of tables in LanceDB take few characters: two galleries may have the same plain name. */
const plainEnd = (gallery: string): string => gallery.replaceAll(/[^\w.-]/g, '_');
const plainNames = (gallery: string): BesideNames => namesEnding(plainEnd(gallery));
const ownNames = (gallery: string): BesideNames => namesEnding(`${plainEnd(gallery)}_${digestOf(gallery)}`);

/**
 * The names of a gallery's tables beside. Where characters are replaced, or another gallery's migration has the plain name, a digest
 * tells galleries apart. Migrations that an earlier mixbct began have the plain name in any case.
 */
export async function besideNames(db: Connection, gallery: string): Promise<BesideNames> {
  const [tables, plain, own] = [await db.tableNames(), plainNames(gallery), ownNames(gallery)];
  const has = ({ beside }: BesideNames): boolean => tables.includes(beside);
  if (has(own)) return own;
  if (plainEnd(gallery) !== gallery && !has(plain)) return own;
  const others = (await migratingGalleries(db)).filter((other) => other !== gallery && plainEnd(other) === plainEnd(gallery)); // biome-ignore format: short
  return others.every((other) => has(ownNames(other))) ? plain : own;
}

const COLUMNS = ['id', 'version', 'vector'];

export type BesideRow = { readonly key: string; readonly version: string; readonly vector: Float32Array | null };

/** Makes the table anew, without rows. */
export async function createBeside(db: Connection, name: string, dim: number): Promise<void> {
  // not by its mode `overwrite`, which warns about a table that is not there
  if ((await db.tableNames()).includes(name)) await db.dropTable(name);
  await db.createTable(name, besideTable([], dim));
}

/** Adds rows, all or none. */
export async function appendRows(table: Table, rows: readonly BesideRow[], dim: number): Promise<void> {
  if (rows.length > 0) await table.add(besideTable(rows, dim));
}

function besideTable(rows: readonly BesideRow[], dim: number, entry?: JournalEntry) {
  const last = entry ? [null] : [];
  return arrowTable(
    {
      id: [...rows.map(({ key }) => key), ...last],
      version: [...rows.map(({ version }) => version), ...last],
      entry: [...rows.map(() => null), ...(entry ? [JSON.stringify(entry)] : [])],
    },
    { vector: [...rows.map(({ vector }) => vector), ...last] },
    dim,
  );
}

/** Adds a batch and its entry: both, or neither. */
export async function appendBatch(
  table: Table,
  rows: readonly BesideRow[],
  dim: number,
  entry: JournalEntry,
): Promise<void> {
  await table.add(besideTable(rows, dim, entry));
}

/** Which versions of which rows there are second vectors for, and where: keys and numbers, no vectors. */
export class BesideIndex {
  /** `VERSION:ROW`. Nearly every key has one; those of a row that was changed are joined. */
  readonly #places = new LargeMap<string, string>();

  add(key: string, version: string, row: bigint): void {
    const known = this.#places.get(key);
    this.#places.set(key, known === undefined ? `${version}:${row}` : `${known} ${version}:${row}`);
  }

  has(key: string, version: string): boolean {
    return this.rowOf(key, version) !== null;
  }

  /** LanceDB's number of the row beside. */
  rowOf(key: string, version: string): bigint | null {
    const place = this.#places.get(key)?.split(' ').find((one) => one.startsWith(`${version}:`)); // biome-ignore format: short
    return place === undefined ? null : BigInt(place.slice(version.length + 1));
  }
}

/** Filters of rows beside: all of them, and those with some keys, of which there are not many. */
export const everyRow = 'id IS NOT NULL';
export const besideKeys = (keys: readonly string[]): string => keys.length === 0 ? 'false' : `id IN (${keys.map(quotedText).join(', ')})`; // biome-ignore format: short

export async function besideIndex(table: Table, filter: string): Promise<BesideIndex> {
  const found = new BesideIndex();
  for await (const batch of table.query().where(filter).select(['id', 'version']).withRowId()) {
    const [versions, rows] = [batch.getChild('version')!, batch.getChild('_rowid')!];
    for (const [i, key] of [...batch.getChild('id')!].entries()) found.add(key, versions.get(i), rows.get(i));
  }
  return found;
}

/** Second vectors, as the table has them. */
export async function* besideRows(table: Table, filter: string): AsyncGenerator<BesideRow> {
  for await (const batch of table.query().where(filter).select(COLUMNS)) yield* besideOf(batch);
}

/** Second vectors by LanceDB's numbers of their rows, in any order. */
export async function besideAt(table: Table, rows: readonly bigint[]): Promise<BesideRow[]> {
  const found: BesideRow[] = [];
  if (rows.length > 0) for await (const batch of table.takeRowIds(rows).select(COLUMNS)) found.push(...besideOf(batch));
  return found;
}

/** The second vectors nearest to one, with the versions that they count for, by cosine. */
export async function nearestBeside(table: Table, to: Float32Array, limit: number): Promise<BesideRow[]> {
  const found: BesideRow[] = [];
  const query = table.vectorSearch(to).column('vector').distanceType('cosine').limit(limit);
  for await (const batch of query.select([...COLUMNS, '_distance'])) found.push(...besideOf(batch));
  return found;
}

function besideOf(batch: Arrow.RecordBatch): BesideRow[] {
  const [ids, versions] = [batch.getChild('id')!, batch.getChild('version')!];
  return vectorsOf(batch.getChild('vector')).map((vector, i) => ({
    key: ids.get(i),
    version: versions.get(i),
    vector,
  }));
}

export async function readJournal(table: Table): Promise<JournalEntry[]> {
  const rows = await table.query().where('entry IS NOT NULL').select(['entry']).toArray();
  const entries = rows.map(({ entry }) => JSON.parse(entry) as JournalEntry);
  return entries.sort((a, b) => a.batch - b.batch);
}
