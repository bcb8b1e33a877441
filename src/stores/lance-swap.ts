import type { Table } from '@lancedb/lancedb';
import { type BesideIndex, besideIndex, everyRow } from './lance-beside.ts';
import { arrow, quotedColumn, vectorColumn, vectorType } from './lance-driver.ts';
import { FORMER, FRESH, idColumn, type LanceGallery } from './lance-gallery.ts';
import { type ApplicationRow, applicationRows } from './lance-moved.ts';
import { versionOfVector } from './vectors.ts';

/** Bytes of vectors that are written together: memory holds them a few times. */
const MOST_BYTES = 128 * 2 ** 20;

export type Swap = {
  /** The first version of the table that has the other vectors; null: not known, and only if `renamed`. */
  readonly version: number | null;
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
): Promise<Swap & { readonly version: number }> {
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
 * The rows that a swap has overtaken, which were written after they were read: by key, the versions of their vectors before it.
 * `beside`: the table with the vectors that it gave.
 */
export async function overtakenRows(
  table: Table,
  gallery: LanceGallery,
  { version, renamed }: Swap,
  beside: Table,
): Promise<Map<string, string>> {
  // NULL is what a row gets that had no vector, and what one has that was inserted after the column was filled
  const empty = `${everyRow} AND vector IS NULL`;
  if (version === null) {
    const former = { ...gallery, vector: FORMER };
    const had = `${FORMER} IS NOT NULL`;
    const late = await otherRows(table, former, beside, everyRow, had);
    const unfilled = await otherRows(table, former, beside, empty, `${had} AND ${quotedColumn(gallery.vector)} IS NULL`); // biome-ignore format: short
    return new Map([...late, ...unfilled]);
  }
  await table.checkout(version - 1);
  const late = await otherRows(table, gallery, beside, everyRow);
  const unfilled = renamed ? await otherRows(table, gallery, beside, empty, `${FRESH} IS NULL`) : [];
  await table.checkoutLatest();
  return new Map([...late, ...unfilled]);
}

/** The application's rows, by a filter, whose version is not among those of the rows beside, by a filter of these. → keys, versions */
async function otherRows(
  table: Table,
  gallery: LanceGallery,
  beside: Table,
  besideFilter: string,
  filter?: string,
): Promise<[string, string][]> {
  const index = await besideIndex(beside, besideFilter);
  const others: [string, string][] = [];
  for await (const rows of applicationRows(table, gallery, filter))
    for (const { key, vector } of rows) {
      const version = versionOfVector(vector);
      if (!index.has(key, version)) others.push([key, version]);
    }
  return others;
}

/** Takes a swap back; what was written before it and since stays. `given`: the versions of the vectors that it gave. */
export async function undoSwap(
  table: Table,
  gallery: LanceGallery,
  { version, renamed }: Swap,
  given: BesideIndex,
): Promise<void> {
  if (renamed) return await undoRenamedSwap(table, gallery, given);
  const before = new Map<string, ApplicationRow>();
  await table.checkout(version! - 1);
  for await (const rows of applicationRows(table, gallery)) for (const row of rows) before.set(row.key, row);
  await table.checkoutLatest();
  const kept: ApplicationRow[] = [];
  for await (const rows of applicationRows(table, gallery))
    for (const { key, vector } of rows)
      if (given.has(key, versionOfVector(vector)) && before.has(key)) kept.push(before.get(key)!);
  if (kept.length > 0) await setVectors(table, gallery, gallery.vector, kept, gallery.dim);
}

/** What was written since goes into the column that gets the name back: a process that is killed after this has lost nothing. */
async function undoRenamedSwap(table: Table, gallery: LanceGallery, given: BesideIndex): Promise<void> {
  const kept = new Map<string, string>();
  const keep = async (from: string, to: string): Promise<void> => {
    const since: ApplicationRow[] = [];
    for await (const rows of applicationRows(table, { ...gallery, vector: from }))
      for (const { key, vector } of rows) {
        const version = versionOfVector(vector);
        if (vector?.length !== gallery.dim || given.has(key, version) || kept.get(key) === version) continue;
        kept.set(key, version);
        since.push({ key, vector });
      }
    if (since.length > 0) await setVectors(table, gallery, to, since, gallery.dim);
  };
  await keep(gallery.vector, FORMER);
  await table.alterColumns([
    { path: gallery.vector, rename: FRESH },
    { path: FORMER, rename: gallery.vector },
  ]);
  await keep(FRESH, gallery.vector);
  await dropSwapColumns(table);
}

/** Removes columns that a swap had, or that one left that was killed. */
export async function dropSwapColumns(table: Table): Promise<void> {
  const left = (await table.schema()).fields.map(({ name }) => name).filter((name) => name === FRESH || name === FORMER); // biome-ignore format: short
  if (left.length > 0) await table.dropColumns(left);
}
