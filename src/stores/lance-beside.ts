import type { Connection, Table } from '@lancedb/lancedb';
import type { JournalEntry } from './gallery-store.ts';
import { arrow, arrowTable, quotedText, vectorsOf } from './lance-driver.ts';
import type { LanceGallery } from './lance-gallery.ts';

// Tables with the second vectors of a gallery's rows. Each row has the version of the application's vector that it counts for, so
// that what the application changes needs no notice: a row beside with another version is none. An entry of the journal is a row of
// its own, without id, so that it is appended together with the vectors of its batch.

/** `beside`: the new model's vectors. `former`: after the cut-over, the old model's. */
export const besideName = (gallery: Pick<LanceGallery, 'name'>, which: 'beside' | 'former'): string =>
  `mixbct_${which}_${gallery.name.replaceAll(/[^\w.-]/g, '_')}`;

export type BesideRow = { readonly key: string; readonly version: string; readonly vector: Float32Array | null };

/** Makes the table anew, with these rows. */
export async function createBeside(
  db: Connection,
  name: string,
  dim: number,
  rows: readonly BesideRow[] = [],
): Promise<void> {
  // not by its mode `overwrite`, which warns about a table that is not there
  if ((await db.tableNames()).includes(name)) await db.dropTable(name);
  await db.createTable(name, besideTable(rows, dim));
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

/** The versions that there are second vectors for, by key: of all rows, or of those with `keys`. */
export async function besideVersions(table: Table, keys?: readonly string[]): Promise<Map<string, Set<string>>> {
  const found = new Map<string, Set<string>>();
  const filter = keys ? `id IN (${keys.map(quotedText).join(', ')})` : 'id IS NOT NULL';
  if (keys?.length === 0) return found;
  for await (const batch of table.query().where(filter).select(['id', 'version'])) {
    const versions = batch.getChild('version')!;
    for (const [i, key] of [...batch.getChild('id')!].entries()) {
      const known = found.get(key);
      if (known) known.add(versions.get(i));
      else found.set(key, new Set([versions.get(i)]));
    }
  }
  return found;
}

/** Second vectors, as the table has them: of all rows, or of those with `keys`. */
export async function* besideRows(table: Table, keys?: readonly string[]): AsyncGenerator<BesideRow> {
  if (keys?.length === 0) return;
  const filter = keys ? `id IN (${keys.map(quotedText).join(', ')})` : 'id IS NOT NULL';
  for await (const batch of table.query().where(filter).select(['id', 'version', 'vector'])) {
    const [ids, versions, vectors] = [
      batch.getChild('id')!,
      batch.getChild('version')!,
      vectorsOf(batch.getChild('vector')),
    ];
    for (const [i, vector] of vectors.entries()) yield { key: ids.get(i), version: versions.get(i), vector };
  }
}

export async function readJournal(table: Table): Promise<JournalEntry[]> {
  const rows = await table.query().where('entry IS NOT NULL').select(['entry']).toArray();
  const entries = rows.map(({ entry }) => JSON.parse(entry) as JournalEntry);
  return entries.sort((a, b) => a.batch - b.batch);
}

const NAME = 'mixbct_galleries';

/** What is written of a gallery. */
export type LanceRecord = {
  readonly stamp: string | null;
  readonly migration: string | null;
  /** Whether a swap of the vectors has begun of which the end is not written. */
  readonly swapping: string | null;
};

export async function readRecord(db: Connection, gallery: string): Promise<LanceRecord> {
  const none = { stamp: null, migration: null, swapping: null };
  if (!(await db.tableNames()).includes(NAME)) return none;
  const table = await db.openTable(NAME);
  const [row] = await table
    .query()
    .where(`gallery = ${quotedText(gallery)}`)
    .toArray();
  return row ? { stamp: row.stamp, migration: row.migration, swapping: row.swapping } : none;
}

export async function writeRecord(db: Connection, gallery: string, record: LanceRecord): Promise<void> {
  const a = arrow();
  const columns = {
    gallery: [gallery],
    stamp: [record.stamp],
    migration: [record.migration],
    swapping: [record.swapping],
  };
  const row = arrowTable(columns, {}, 1);
  if (!(await db.tableNames()).includes(NAME))
    await db.createEmptyTable(NAME, new a.Schema(Object.keys(columns).map((name) => new a.Field(name, new a.Utf8(), true))), { existOk: true }); // biome-ignore format: short
  const table = await db.openTable(NAME);
  await table.mergeInsert('gallery').whenMatchedUpdateAll().whenNotMatchedInsertAll().execute(row);
}
