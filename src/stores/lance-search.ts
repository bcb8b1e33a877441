import type { Table } from '@lancedb/lancedb';
import { besideIndex, besideKeys, everyRow, nearestBeside } from './lance-beside.ts';
import { vectorsOf } from './lance-driver.ts';
import { keysFilter, type LanceGallery } from './lance-gallery.ts';
import { type ApplicationRow, applicationRows, movedPairs } from './lance-moved.ts';
import { type NearestRows, versionOfVector } from './vectors.ts';

/** A search for the `k` rows nearest to a vector. `url`: for messages. */
export type LanceSearch = {
  readonly table: Table;
  readonly gallery: LanceGallery;
  readonly to: Float32Array;
  readonly k: number;
  readonly nearest: NearestRows;
  readonly url: string;
};

/** Of the nearest vectors some are of rows in the other space: how many are looked at, first and at most, and by which factor more. */
const [FIRST, FACTOR, MOST] = [4, 8, 1024];

/** Offers the nearest rows that are not moved. If nearly all are, it reads all vectors once. */
export async function offerUnmoved(search: LanceSearch, beside: Table): Promise<void> {
  const { table, gallery, nearest, url } = search;
  for (let limit = FIRST * search.k; limit <= MOST; limit *= FACTOR) {
    const found = await nearestRows(search, limit, { exact: true });
    const index = await besideIndex(beside, besideKeys(found.map(({ key }) => key))); // biome-ignore format: short
    const open = found.filter(({ key, vector }) => !index.has(key, versionOfVector(vector)));
    if (open.length < search.k && found.length === limit) continue;
    for (const { key, vector } of open) nearest.offer(key, vector!, url);
    return;
  }
  const index = await besideIndex(beside, everyRow);
  for await (const rows of applicationRows(table, gallery))
    for (const { key, vector } of rows)
      if (vector && !index.has(key, versionOfVector(vector))) nearest.offer(key, vector, url);
}

/** Offers the nearest second vectors whose rows are still those that they were made of. If few are, it reads all. */
export async function offerMoved({ table, gallery, to, k, nearest, url }: LanceSearch, beside: Table): Promise<void> {
  for (let limit = FIRST * k; limit <= MOST; limit *= FACTOR) {
    const found = await nearestBeside(beside, to, limit);
    const versions = new Map<string, string>();
    const filter = keysFilter(gallery, [...new Set(found.map(({ key }) => key))]);
    if (filter !== null)
      for await (const rows of applicationRows(table, gallery, filter))
        for (const { key, vector } of rows) versions.set(key, versionOfVector(vector));
    const valid = found.filter(({ key, version }) => versions.get(key) === version);
    if (valid.length < k && found.length === limit) continue;
    for (const { key, vector } of valid) nearest.offer(key, vector!, url);
    return;
  }
  for await (const pairs of movedPairs(table, gallery, beside))
    for (const { key, beside: vector } of pairs) if (vector) nearest.offer(key, vector, url);
}

/** Offers the nearest rows by LanceDB, by an index if there is one for cosines. */
export async function offerNearest(search: LanceSearch): Promise<void> {
  const { table, gallery, k, nearest, url } = search;
  const index = (await table.listIndices()).find(({ columns }) => columns.includes(gallery.vector));
  const byCosine = index && (await table.indexStats(index.name))?.distanceType === 'cosine';
  for (const { key, vector } of await nearestRows(search, k, { exact: !byCosine })) nearest.offer(key, vector!, url);
}

async function nearestRows(
  { table, gallery: { id, vector }, to }: LanceSearch,
  limit: number,
  { exact }: { readonly exact: boolean },
): Promise<ApplicationRow[]> {
  const search = table.vectorSearch(to).column(vector).distanceType('cosine').limit(limit).select([id, vector, '_distance']); // biome-ignore format: short
  const found: ApplicationRow[] = [];
  for await (const batch of exact ? search.bypassVectorIndex() : search) {
    const keys = batch.getChild(id)!;
    for (const [i, row] of vectorsOf(batch.getChild(vector)).entries()) found.push({ key: String(keys.get(i)), vector: row }); // biome-ignore format: short
  }
  return found;
}
