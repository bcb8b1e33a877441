import type { GalleryStore } from './gallery-store.ts';
import { parseStoreUrl, type StoreKind, type StoreUrl } from './store-url.ts';

/** What opens each kind of store: its package is loaded when one is wanted. */
const openers: Readonly<Record<StoreKind, (url: StoreUrl) => Promise<GalleryStore>>> = {
  lancedb: async (url) => (await import('./lance-store.ts')).openLanceStore(url),
  postgres: async (url) => (await import('./postgres-store.ts')).openPostgresStore(url),
  files: async (url) => (await import('./files-store.ts')).openFilesStore(url),
  sqlite: async (url) => (await import('./sqlite-store.ts')).openSqliteStore(url),
};

/** Opens the gallery at a URL. @throws UserError if there is none, or its store needs a package that is not installed */
export async function openStore(url: string): Promise<GalleryStore> {
  const parsed = parseStoreUrl(url);
  return await openers[parsed.kind](parsed);
}
