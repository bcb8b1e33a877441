import type { Connection, Table } from '@lancedb/lancedb';
import { z } from 'zod';
import { arrow, arrowTable, quotedText } from './lance-driver.ts';
import { type MigrationRecord, parseRecord } from './migration-record.ts';

const NAME = 'mixbct_galleries';

/** What is written of a gallery. */
export type LanceRecord = {
  readonly stamp: string | null;
  readonly migration: string | null;
  /** The start of a swap of the vectors whose end is not written. */
  readonly swapping: string | null;
};

const NONE: LanceRecord = { stamp: null, migration: null, swapping: null };
const FIELDS = ['stamp', 'migration', 'swapping'] as const;

export async function readRecord(db: Connection, gallery: string): Promise<LanceRecord> {
  if (!(await db.tableNames()).includes(NAME)) return NONE;
  const [row] = await (await db.openTable(NAME)).query().where(rowOf(gallery)).toArray();
  return row ? { stamp: row.stamp, migration: row.migration, swapping: row.swapping } : NONE;
}

/**
 * Writes some of a record. `was`: what was read of it, if it is to be written only while it is still that; others may write it, too.
 * → whether it was written
 */
export async function writeRecord(
  db: Connection,
  gallery: string,
  what: Partial<LanceRecord>,
  was?: LanceRecord,
): Promise<boolean> {
  const table = await recordTable(db);
  const same = was ? FIELDS.map((name) => (was[name] === null ? `${name} IS NULL` : `${name} = ${quotedText(was[name])}`)) : []; // biome-ignore format: short
  const { rowsUpdated } = await table.update({ where: [rowOf(gallery), ...same].join(' AND '), values: { ...what } });
  if (rowsUpdated > 0) return true;
  if ((was && FIELDS.some((name) => was[name] !== null)) || (await table.countRows(rowOf(gallery))) > 0) return false;
  const record = { ...NONE, ...what };
  const columns = Object.fromEntries(FIELDS.map((name) => [name, [record[name]]]));
  await table.add(arrowTable({ gallery: [gallery], ...columns }, {}, 1));
  if ((await table.countRows(rowOf(gallery))) === 1) return true;
  // no column of LanceDB is unique: another process has added one at the same moment
  await table.delete(`${rowOf(gallery)} AND migration IS NULL`);
  return false;
}

/** The galleries of the folder that are in a migration. */
export async function migratingGalleries(db: Connection): Promise<string[]> {
  if (!(await db.tableNames()).includes(NAME)) return [];
  const rows = await (await db.openTable(NAME)).query().where('migration IS NOT NULL').select(['gallery']).toArray();
  return rows.map(({ gallery }) => String(gallery));
}

const rowOf = (gallery: string): string => `gallery = ${quotedText(gallery)}`;

async function recordTable(db: Connection): Promise<Table> {
  const a = arrow();
  const schema = new a.Schema(['gallery', ...FIELDS].map((name) => new a.Field(name, new a.Utf8(), true)));
  if (!(await db.tableNames()).includes(NAME)) await db.createEmptyTable(NAME, schema, { existOk: true });
  return await db.openTable(NAME);
}

/** The start of a swap. */
export type SwapStart = {
  /** The version of the application's table before it; null: an earlier mixbct did not write it. */
  readonly version: number | null;
  /** The phase that the swap leads to. */
  readonly to: MigrationRecord['phase'];
};

const swapStartSchema = z.object({
  at: z.string(),
  version: z.number().int(),
  to: z.enum(['moving', 'cut-over']),
});

export const swapStartText = (start: SwapStart): string => JSON.stringify({ at: new Date().toISOString(), ...start });

/** @throws FileError naming the store if it is damaged. `phase`: that of the record, which tells where a swap leads that has only a time. */
export function parseSwapStart(url: string, text: string, phase: MigrationRecord['phase']): SwapStart {
  if (text.startsWith('{')) return parseRecord(swapStartSchema, url, text);
  return { version: null, to: phase === 'moving' ? 'cut-over' : 'moving' };
}
