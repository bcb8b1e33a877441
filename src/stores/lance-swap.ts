import type { Table } from '@lancedb/lancedb';
import { type BesideIndex, besideIndex, everyRow } from './lance-beside.ts';
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

/**
 * The number of rows that a swap has overtaken: those that were written after they were read. `beside`: the table with the vectors
 * that it gave.
 */
export async function countOvertaken(
  table: Table,
  gallery: LanceGallery,
  { version, renamed }: Swap,
  beside: Table,
): Promise<number> {
  await table.checkout(version - 1);
  const late = await countOthers(table, gallery, beside, everyRow);
  // NULL is what a row gets that had no vector, and what one has that was inserted after the column was filled
  const unfilled = renamed ? await countOthers(table, gallery, beside, `${everyRow} AND vector IS NULL`, `${FRESH} IS NULL`) : 0; // biome-ignore format: short
  await table.checkoutLatest();
  return Math.max(late, unfilled);
}

/** The number of the application's rows, by a filter, whose version is not among those of the rows beside, by a filter of these. */
async function countOthers(
  table: Table,
  gallery: LanceGallery,
  beside: Table,
  besideFilter: string,
  filter?: string,
): Promise<number> {
  const index = await besideIndex(beside, besideFilter);
  let count = 0;
  for await (const rows of applicationRows(table, gallery, filter))
    for (const { key, vector } of rows) if (!index.has(key, versionOfVector(vector))) count++;
  return count;
}

/** Takes a swap back; what was written before it and since stays. `given`: the versions of the vectors that it gave. */
export async function undoSwap(table: Table, gallery: LanceGallery, swap: Swap, given: BesideIndex): Promise<void> {
  const isGiven = ({ key, vector }: ApplicationRow): boolean => given.has(key, versionOfVector(vector));
  const kept: ApplicationRow[] = [];
  if (!swap.renamed) {
    const before = new Map<string, ApplicationRow>();
    await table.checkout(swap.version - 1);
    for await (const rows of applicationRows(table, gallery)) for (const row of rows) before.set(row.key, row);
    await table.checkoutLatest();
    for await (const rows of applicationRows(table, gallery))
      for (const row of rows) if (isGiven(row) && before.has(row.key)) kept.push(before.get(row.key)!);
  } else {
    for await (const rows of applicationRows(table, gallery))
      for (const row of rows) if (row.vector?.length === gallery.dim && !isGiven(row)) kept.push(row);
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
