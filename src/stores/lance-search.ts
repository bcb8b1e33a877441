import type { Table } from '@lancedb/lancedb';
import { besideRows, besideVersions } from './lance-beside.ts';
import { vectorsOf } from './lance-driver.ts';
import type { LanceGallery } from './lance-gallery.ts';
import { applicationRows } from './lance-swap.ts';
import { type NearestRows, versionOfVector } from './vectors.ts';

/** Offers each row in the space that it is in. `url`: for messages. */
export async function offerByRow(
  table: Table,
  gallery: LanceGallery,
  beside: Table,
  nearest: { readonly own: NearestRows | undefined; readonly beside: NearestRows | undefined },
  url: string,
): Promise<void> {
  const versions = await besideVersions(beside);
  const moved = new Map<string, string>();
  for await (const { key, vector } of applicationRows(table, gallery)) {
    const known = versions.get(key);
    const version = known && versionOfVector(vector);
    if (version !== undefined && known!.has(version)) moved.set(key, version);
    else if (vector) nearest.own?.offer(key, vector, url);
  }
  if (!nearest.beside) return;
  for await (const { key, version, vector } of besideRows(beside))
    if (vector && moved.get(key) === version && moved.delete(key)) nearest.beside.offer(key, vector, url);
}

/** Offers the nearest rows by LanceDB, by an index if there is one for cosines. `url`: for messages. */
export async function offerNearest(
  table: Table,
  { id, vector }: LanceGallery,
  to: Float32Array,
  k: number,
  nearest: NearestRows,
  url: string,
): Promise<void> {
  const search = table.vectorSearch(to).column(vector).distanceType('cosine').limit(k).select([id, vector, '_distance']); // biome-ignore format: short
  const index = (await table.listIndices()).find(({ columns }) => columns.includes(vector));
  const byCosine = index && (await table.indexStats(index.name))?.distanceType === 'cosine';
  for await (const batch of byCosine ? search : search.bypassVectorIndex())
    for (const [i, found] of vectorsOf(batch.getChild(vector)).entries())
      if (found) nearest.offer(String(batch.getChild(id)!.get(i)), found, url);
}
