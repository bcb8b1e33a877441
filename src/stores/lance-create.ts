import { mkdirSync } from 'node:fs';
import { arrow, asLanceError, openLance, vectorColumn, vectorType } from './lance-driver.ts';
import { type NewGallery, type NewRow, type NewTable, TableExistsError } from './new-gallery.ts';

/** Creates a table in one version, for which memory holds all of it. @throws UserError if there is such a table */
export async function createLanceGallery(table: NewTable, { dim, images, blocks }: NewGallery): Promise<void> {
  const { url, id, vector } = table;
  try {
    mkdirSync(url.location, { recursive: true });
    const db = await openLance(url, { fresh: true });
    try {
      if ((await db.tableNames()).includes(table.table)) throw new TableExistsError(table);
      const rows: NewRow[] = [];
      for (const block of blocks()) rows.push(...block);
      const a = arrow();
      const fields = [
        new a.Field(id, new a.Utf8(), false),
        new a.Field(vector, vectorType(dim), true),
        new a.Field('label', new a.Int32(), true),
        ...(images ? [new a.Field('image', new a.Binary(), true)] : []),
      ];
      const column = <T>(of: (row: NewRow) => T): T[] => rows.map(of);
      const columns = {
        [id]: a.vectorFromArray(column((row) => row.id), new a.Utf8()), // biome-ignore format: short
        [vector]: vectorColumn(column((row) => row.vector), dim), // biome-ignore format: short
        label: a.vectorFromArray(column((row) => row.label), new a.Int32()), // biome-ignore format: short
        ...(images && { image: a.vectorFromArray(column((row) => row.image), new a.Binary()) }), // biome-ignore format: short
      };
      await db.createTable(table.table, new a.Table(new a.Schema(fields), columns));
    } finally {
      db.close();
    }
  } catch (error) {
    throw asLanceError(error, url.text, url.location);
  }
}
