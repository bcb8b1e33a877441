import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { readNpy } from '../../src/features/index.ts';
import { openZip } from '../../src/torch/zip.ts';
import { testFolder } from './folder.ts';

/** The arrays of an .npz, by name. */
export async function readNpz(t: TestContext, path: string): Promise<Record<string, ArrayLike<number>>> {
  using zip = await openZip(path, 'wanted an .npz');
  const folder = testFolder(t);
  const arrays: Record<string, ArrayLike<number>> = {};
  for (const name of zip.names) {
    const file = join(folder, name);
    writeFileSync(file, await zip.read(name));
    arrays[name.replace(/\.npy$/, '')] = readNpy(file, ['<f8', '<f4', '<i4', '|b1', '|u1']).data;
  }
  return arrays;
}
