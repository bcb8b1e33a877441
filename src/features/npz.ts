import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';

/** Packs .npy files into an .npz, stored as they are, under the names given: `numpy.load` finds them by these. */
export async function writeNpz(path: string, arrays: Readonly<Record<string, string>>): Promise<void> {
  const { ZipFile } = await import('yazl');
  const zip = new ZipFile();
  const mtime = new Date('1980-01-01T12:00:00Z'); // the archive's bytes depend on the arrays alone
  for (const [name, file] of Object.entries(arrays)) zip.addFile(file, `${name}.npy`, { compress: false, mtime });
  zip.end();
  await pipeline(zip.outputStream, createWriteStream(path));
}
