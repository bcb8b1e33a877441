import type { Table } from '@lancedb/lancedb';
import { besideAt, besideIndex, everyRow } from './lance-beside.ts';
import { vectorsOf } from './lance-driver.ts';
import { type LanceGallery, projection } from './lance-gallery.ts';
import { versionOfVector } from './vectors.ts';

/** Rows that are looked up together. */
const CHUNK = 8192;

/** A row that is moved: its vector in the application's column, the version of that, and the one beside. */
export type MovedPair = {
  readonly key: string;
  readonly version: string;
  readonly own: Float32Array | null;
  readonly beside: Float32Array | null;
};

export type ApplicationRow = { readonly key: string; readonly vector: Float32Array | null };

/** The application's rows, as the table has them, a batch at a time. */
export async function* applicationRows(
  table: Table,
  gallery: LanceGallery,
  filter?: string,
): AsyncGenerator<readonly ApplicationRow[]> {
  const query = table.query().select(projection(gallery));
  for await (const batch of filter === undefined ? query : query.where(filter)) {
    const keys = batch.getChild('key')!;
    yield vectorsOf(batch.getChild('vector')).map((vector, i) => ({ key: String(keys.get(i)), vector }));
  }
}

/** The number of rows that are moved. Memory holds the keys of those beside. */
export async function countMoved(table: Table, gallery: LanceGallery, beside: Table): Promise<number> {
  const index = await besideIndex(beside, everyRow);
  let moved = 0;
  for await (const rows of applicationRows(table, gallery))
    for (const { key, vector } of rows) if (index.has(key, versionOfVector(vector))) moved++;
  return moved;
}

/** The rows that are moved, some thousands at a time. Memory holds the keys of those beside. */
export async function* movedPairs(
  table: Table,
  gallery: LanceGallery,
  beside: Table,
): AsyncGenerator<readonly MovedPair[]> {
  const index = await besideIndex(beside, everyRow);
  for await (const rows of applicationRows(table, gallery))
    for (let from = 0; from < rows.length; from += CHUNK) {
      const own = new Map<string, ApplicationRow>();
      const wanted: bigint[] = [];
      for (const row of rows.slice(from, from + CHUNK)) {
        const place = index.rowOf(row.key, versionOfVector(row.vector));
        if (place === null) continue;
        own.set(row.key, row);
        wanted.push(place);
      }
      const found = await besideAt(beside, wanted);
      yield found.map(({ key, version, vector }) => ({ key, version, own: own.get(key)!.vector, beside: vector }));
    }
}
