import type { Table } from '@lancedb/lancedb';
import { arrow, quotedColumn, vectorColumn, vectorsOf, vectorType } from './lance-driver.ts';
import { FORMER, FRESH, idColumn, type LanceGallery } from './lance-gallery.ts';

/** Rows that are filled at a time where the column is not yet the application's. */
const BATCH = 8192;

/**
 * Gives the rows with these keys other vectors in the application's column, all at once: one version has none of them, the next one
 * has all. Of equal dimensions the values are replaced; otherwise another column gets the name. → that version
 */
export async function replaceVectors(
  table: Table,
  gallery: LanceGallery,
  vectors: ReadonlyMap<string, Float32Array | null>,
  dim: number,
): Promise<number> {
  const rows = (column: string, some: readonly (readonly [string, Float32Array | null])[]) => {
    const a = arrow();
    const schema = new a.Schema([
      new a.Field(gallery.id, gallery.idType, true),
      new a.Field(column, vectorType(dim), true),
    ]);
    return new a.Table(schema, {
      [gallery.id]: idColumn(gallery, some.map(([key]) => key)), // biome-ignore format: short
      [column]: vectorColumn(some.map(([, vector]) => vector), dim), // biome-ignore format: short
    });
  };
  const merge = (data: ReturnType<typeof rows>) => table.mergeInsert(gallery.id).whenMatchedUpdateAll().execute(data);
  const all = [...vectors];
  if (dim === gallery.dim) return Number((await merge(rows(gallery.vector, all))).version);
  await dropSwapColumns(table);
  const none = `arrow_cast(NULL, 'FixedSizeList(${dim}, Float32)')`;
  await table.addColumns([{ name: FRESH, valueSql: none }]);
  for (let from = 0; from < all.length; from += BATCH) await merge(rows(FRESH, all.slice(from, from + BATCH)));
  const renamed = await table.alterColumns([
    { path: gallery.vector, rename: FORMER },
    { path: FRESH, rename: gallery.vector },
  ]);
  return Number(renamed.version);
}

/** Removes columns that a swap had, or that one left that was killed. */
export async function dropSwapColumns(table: Table): Promise<void> {
  const left = (await table.schema()).fields.map(({ name }) => name).filter((name) => name === FRESH || name === FORMER); // biome-ignore format: short
  if (left.length > 0) await table.dropColumns(left);
}

/** Keys and vectors of the application's rows, as the table has them. */
export async function* applicationRows(
  table: Table,
  { id, vector }: LanceGallery,
  filter?: string,
): AsyncGenerator<{ readonly key: string; readonly vector: Float32Array | null }> {
  const query = table.query().select({ key: quotedColumn(id), vector: quotedColumn(vector) });
  for await (const batch of filter === undefined ? query : query.where(filter)) {
    const keys = batch.getChild('key')!;
    for (const [i, found] of vectorsOf(batch.getChild('vector')).entries()) yield { key: String(keys.get(i)), vector: found }; // biome-ignore format: short
  }
}
