import { statSync } from 'node:fs';
import { extname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { FileError, UserError } from '../base/errors.ts';
import type { GalleryFile } from './gallery-file.ts';
import type { StoreUrl } from './store-url.ts';

/** What opens the file of a gallery, by its ending. */
const openers: Readonly<Record<string, (path: string, url: StoreUrl) => Promise<GalleryFile>>> = {
  '.npy': async (path) => (await import('./npy-gallery.ts')).NpyGallery.open(path),
  '.parquet': async (path, url) => (await import('./parquet-gallery.ts')).ParquetGallery.open(path, url),
};

/** @throws UserError if a URL is of no file that can hold a gallery */
export function requireGalleryFile({ location: path, text, table, id, vector }: StoreUrl): void {
  const ending = extname(path);
  const named = ending !== '.parquet' && (id !== undefined || vector !== undefined);
  if (table !== undefined || named)
    throw new UserError(`${text}: a ${ending || 'file'} file has no tables${named ? ' and columns' : ''}`, {
      hint: 'files:./gallery.npy, files:./gallery.parquet?vector=embedding&id=id',
    });
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw new FileError(text, `there is no file ${path}`, 'check the path'); // biome-ignore format: short
  if (!(ending in openers))
    throw new UserError(`${text}: wanted a .npy file with ids beside it, or a .parquet file, as mixbct embed writes them`); // biome-ignore format: short
}

/** Attempts to open a gallery of which one file may be new and the other one old, and the pause between them. */
const [ATTEMPTS, PAUSE_MS] = [10, 20];

/** @throws FileError as the gallery of the kind */
export async function openGalleryFile(path: string, url: StoreUrl): Promise<GalleryFile> {
  const open = openers[extname(path)]!;
  for (let attempt = 1; ; attempt++)
    try {
      return await open(path, url);
    } catch (error) {
      if (attempt === ATTEMPTS || extname(path) !== '.npy') throw error;
      await setTimeout(PAUSE_MS);
    }
}
