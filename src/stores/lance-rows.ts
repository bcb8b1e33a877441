import type { Query, Table } from '@lancedb/lancedb';
import type { GalleryRow } from './gallery-store.ts';
import { besideIndex, besideKeys, besideRows } from './lance-beside.ts';
import { quotedColumn, vectorsOf } from './lance-driver.ts';
import { afterFilter, besideRange, keysFilter, type LanceGallery, projection } from './lance-gallery.ts';
import { numberOrText } from './number-or-text.ts';
import { versionOfVector } from './vectors.ts';

/** Where rows are read. `beside`: null without a migration. */
export type LanceRows = {
  readonly table: Table;
  readonly gallery: LanceGallery;
  readonly beside: Table | null;
  readonly fields: readonly string[];
};

/** Rows that are looked at together at most to find those that are not moved. */
const CHUNK = 16_384;

export async function rowsByKey(from: LanceRows, keys: readonly string[]): Promise<GalleryRow[]> {
  const filter = keysFilter(from.gallery, keys);
  if (filter === null) return [];
  return await withBeside(from, await ownRows(from, from.table.query().where(filter)), besideKeys(keys));
}

/** Rows after a key, in the order of keys. */
export async function rowsAfter(from: LanceRows, after: string | null, limit: number): Promise<GalleryRow[]> {
  const rows = await ownRowsAfter(from, after, limit);
  return rows.length === 0 ? [] : await withBeside(from, rows, besideRange(from.gallery, after, rows.at(-1)!.key));
}

/** Those that are not moved, which it looks for in ever longer steps. */
export async function unmovedAfter(from: LanceRows, after: string | null, limit: number): Promise<GalleryRow[]> {
  const found: GalleryRow[] = [];
  for (let [last, size] = [after, limit]; found.length < limit; size = Math.min(2 * size, CHUNK)) {
    const rows = await ownRowsAfter(from, last, size);
    if (rows.length === 0) break;
    const index = await besideIndex(from.beside!, besideRange(from.gallery, last, rows.at(-1)!.key));
    found.push(...rows.filter(({ key, version }) => !index.has(key, version)));
    if (rows.length < size) break;
    last = rows.at(-1)!.key;
  }
  return found.slice(0, limit);
}

async function ownRowsAfter(from: LanceRows, after: string | null, limit: number): Promise<GalleryRow[]> {
  const { table, gallery } = from;
  const query = table.query().orderBy({ columnName: gallery.id }).limit(limit);
  return await ownRows(from, after === null ? query : query.where(afterFilter(gallery, after)));
}

/** Rows of the application's, as if none was moved. */
async function ownRows({ gallery, fields }: LanceRows, query: Query): Promise<GalleryRow[]> {
  const named = Object.fromEntries(fields.map((field, i) => [`f${i}`, quotedColumn(field)]));
  const found: GalleryRow[] = [];
  for await (const batch of query.select({ ...projection(gallery), ...named }))
    for (const [i, vector] of vectorsOf(batch.getChild('vector')).entries()) {
      const values = fields.map((field, f) => [field, numberOrText(batch.getChild(`f${f}`)!.get(i))]);
      found.push({
        ...{ key: String(batch.getChild('key')!.get(i)), version: versionOfVector(vector), vector },
        ...{ moved: false, beside: null, fields: Object.fromEntries(values) },
      });
    }
  return found;
}

async function withBeside({ beside }: LanceRows, rows: readonly GalleryRow[], filter: string): Promise<GalleryRow[]> {
  if (!beside) return [...rows];
  const second = new Map<string, Float32Array | null>();
  for await (const { key, version, vector } of besideRows(beside, filter)) second.set(`${version} ${key}`, vector);
  return rows.map((row) => {
    const vector = second.get(`${row.version} ${row.key}`);
    return { ...row, moved: vector !== undefined, beside: vector ?? null };
  });
}
