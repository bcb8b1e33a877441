import type { Table } from '@lancedb/lancedb';
import type { BesideIndex } from './lance-beside.ts';
import { arrow, vectorColumn, vectorType } from './lance-driver.ts';
import { FORMER, FRESH, idColumn, type LanceGallery } from './lance-gallery.ts';
import { type ApplicationRow, applicationRows } from './lance-moved.ts';
import { versionOfVector } from './vectors.ts';

/** Bytes of vectors that are written together: memory holds them a few times. */
const MOST_BYTES = 128 * 2 ** 20;

export type Swap = {
  /** The first version of the table that has the other vectors. */
  readonly version: number;
  /** Whether another column has taken the name; else values were replaced. */
  readonly renamed: boolean;
};

/**
 * Gives rows other vectors in the application's column, all at once: one version has none of them, the next one has all. Of equal
 * dimensions values are replaced if they are at most `mostBytes`; otherwise a second column is filled, and gets the name.
 */
export async function replaceVectors(
  table: Table,
  gallery: LanceGallery,
  blocks: AsyncIterable<readonly ApplicationRow[]>,
  dim: number,
  mostBytes = MOST_BYTES,
): Promise<Swap> {
  const most = Math.max(1, Math.floor(mostBytes / (4 * dim)));
  let waiting: ApplicationRow[] = [];
  let filling = false;
  const fill = async (): Promise<void> => {
    if (!filling) {
      await dropSwapColumns(table);
      await table.addColumns([{ name: FRESH, valueSql: `arrow_cast(NULL, 'FixedSizeList(${dim}, Float32)')` }]);
    }
    filling = true;
    for (; waiting.length > 0; waiting = waiting.slice(most)) await setVectors(table, gallery, FRESH, waiting.slice(0, most), dim); // biome-ignore format: short
  };
  for await (const rows of blocks) {
    waiting.push(...rows);
    if (waiting.length > most) await fill();
  }
  if (!filling && dim === gallery.dim)
    return { version: await setVectors(table, gallery, gallery.vector, waiting, dim), renamed: false };
  await fill();
  const renamed = await table.alterColumns([
    { path: gallery.vector, rename: FORMER },
    { path: FRESH, rename: gallery.vector },
  ]);
  return { version: Number(renamed.version), renamed: true };
}

/** Writes vectors of `dim` dimensions into a column. → the version that has them */
async function setVectors(
  table: Table,
  gallery: LanceGallery,
  column: string,
  rows: readonly ApplicationRow[],
  dim: number,
): Promise<number> {
  const a = arrow();
  const schema = new a.Schema([
    new a.Field(gallery.id, gallery.idType, true),
    new a.Field(column, vectorType(dim), true),
  ]);
  const data = new a.Table(schema, {
    [gallery.id]: idColumn(gallery, rows.map(({ key }) => key)), // biome-ignore format: short
    [column]: vectorColumn(rows.map(({ vector }) => vector), dim), // biome-ignore format: short
  });
  return Number((await table.mergeInsert(gallery.id).whenMatchedUpdateAll().execute(data)).version);
}

/** The rows that a swap has overtaken: those that were written after they were read. `read`: the versions that were. */
export async function countOvertaken(
  table: Table,
  gallery: LanceGallery,
  { version, renamed }: Swap,
  read: BesideIndex,
): Promise<number> {
  await table.checkout(version - 1);
  const unfilled = renamed ? await table.countRows(`${FRESH} IS NULL`) : 0;
  let late = 0;
  for await (const rows of applicationRows(table, gallery))
    for (const { key, vector } of rows) if (!read.has(key, versionOfVector(vector))) late++;
  await table.checkoutLatest();
  return Math.max(late, unfilled);
}

/** Takes a swap back; what was written before it and since stays. `given`: the versions of the vectors that it gave. */
export async function undoSwap(table: Table, gallery: LanceGallery, swap: Swap, given: BesideIndex): Promise<void> {
  const kept: ApplicationRow[] = [];
  if (!swap.renamed) {
    await table.checkout(swap.version - 1);
    for await (const rows of applicationRows(table, gallery)) kept.push(...rows);
    await table.checkoutLatest();
  } else {
    for await (const rows of applicationRows(table, gallery))
      for (const row of rows) if (row.vector?.length === gallery.dim && !given.has(row.key, versionOfVector(row.vector))) kept.push(row); // biome-ignore format: short
    await table.alterColumns([
      { path: gallery.vector, rename: FRESH },
      { path: FORMER, rename: gallery.vector },
    ]);
  }
  if (kept.length > 0) await setVectors(table, gallery, gallery.vector, kept, gallery.dim);
  await dropSwapColumns(table);
}

/** Removes columns that a swap had, or that one left that was killed. */
export async function dropSwapColumns(table: Table): Promise<void> {
  const left = (await table.schema()).fields.map(({ name }) => name).filter((name) => name === FRESH || name === FORMER); // biome-ignore format: short
  if (left.length > 0) await table.dropColumns(left);
}
