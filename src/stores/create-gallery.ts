import { UserError } from '../base/errors.ts';
import type { NewGallery, NewTable } from './new-gallery.ts';
import { parseStoreUrl, type StoreKind } from './store-url.ts';

/** What makes a gallery in each kind of store. */
const creators: Readonly<Partial<Record<StoreKind, (table: NewTable, gallery: NewGallery) => Promise<void>>>> = {
  lancedb: async (table, gallery) => (await import('./lance-create.ts')).createLanceGallery(table, gallery),
  postgres: async (table, gallery) => (await import('./postgres-create.ts')).createPostgresGallery(table, gallery),
  sqlite: async (table, gallery) => (await import('./sqlite-create.ts')).createSqliteGallery(table, gallery),
};

/** Creates a gallery with these rows: all of them, or nothing. @throws UserError if there is such a table already */
export async function createGallery(url: string, gallery: NewGallery): Promise<void> {
  const parsed = parseStoreUrl(url);
  const create = creators[parsed.kind];
  const { table, id = 'id', vector = 'vector', text } = parsed;
  if (!create) throw new UserError(`${text}: a gallery cannot be created there`, { hint: `wanted ${Object.keys(creators).join(':, ')}:` }); // biome-ignore format: short
  if (table === undefined) throw new UserError(`${text}: the URL names no table`, { hint: `${text}#faces` });
  await create({ url: parsed, table, id, vector }, gallery);
}
