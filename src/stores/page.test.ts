// The code of docs/adding-a-store.md, as it stands there, is a store that passes the conformance suite.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { loadPageOnce } from '../../test/helpers/page.ts';
import { type MakeGallery, storeConformance, type TestRow } from '../../test/helpers/store-conformance.ts';
import type { GalleryStore } from './gallery-store.ts';
import type { StoreUrl } from './store-url.ts';
import { vectorBytes } from './vectors.ts';

type Page = { readonly openJsonStore: (url: StoreUrl) => Promise<GalleryStore> };
let page: Page;
before(async () => {
  page = await loadPageOnce<Page>('adding-a-store.md');
});

type File = { readonly rows: Record<string, { readonly vector: readonly number[]; readonly path: string }> };

/** A gallery as an application makes it. */
const jsonGallery: MakeGallery = async (t, rows) => {
  const path = join(testFolder(t), 'gallery.json');
  const read = (): File => JSON.parse(readFileSync(path, 'utf8'));
  const write = (file: File): void => writeFileSync(path, JSON.stringify(file));
  const put = (more: readonly TestRow[], file: File): File => {
    for (const { key, vector, path: image } of more) file.rows[key] = { vector: [...vector], path: image };
    return file;
  };
  write(put(rows, { rows: {} }));
  return {
    url: path,
    insert: async (more) => write(put(more, read())),
    remove: async (key) => {
      const file = read();
      delete file.rows[key];
      write(file);
    },
    setVector: async (key, vector) => write(put([{ key, vector, path: read().rows[key]!.path }], read())),
    content: async () =>
      new Map(
        Object.entries(read().rows).map(([key, row]) => [key, { ...row, vector: vectorBytes(Float32Array.from(row.vector)) }]), // biome-ignore format: short
      ),
  };
};

const open = (path: string): Promise<GalleryStore> =>
  page.openJsonStore({ kind: 'files', location: path, table: undefined, vector: undefined, id: undefined, text: path });

storeConformance('the store of the page', jsonGallery, { open });
