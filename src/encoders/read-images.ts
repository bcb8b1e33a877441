import { FileError } from '../base/errors.ts';
import { decodeBatch } from '../data/batch-decoder.ts';
import { openFiles } from '../data/image-folder.ts';
import type { Encoder } from './encoder.ts';

/**
 * Reads pictures as an encoder takes them: upright, in its size, by its resize rule. → bytes [B, side, side, 3] in RGB
 * @throws FileError naming the first file that cannot be read.
 */
export async function readImages(
  files: readonly string[],
  { side, resize }: Pick<Encoder, 'side' | 'resize'>,
): Promise<Uint8Array> {
  const pixels = new Uint8Array(files.length * side * side * 3);
  const source = openFiles({ kind: 'files', files });
  const task = { indices: Int32Array.from(files.keys()), side, resize, augment: null };
  const [bad] = await decodeBatch(source, task, pixels);
  if (bad) throw new FileError(files[bad.row]!, `cannot be read: ${bad.problem}`);
  return pixels;
}
