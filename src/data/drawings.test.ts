import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { DrawingFile } from './drawings.ts';

test('pictures lie on disk, whatever becomes of their memory; those that things share are none', (t) => {
  const file = new DrawingFile(join(testFolder(t), '0.raw'), 3);
  t.after(() => file.close());
  const pixels = new Uint8Array(3);
  for (const [thing, value] of [[4, 1], [0, 2], [7, 1], [2, 3], [5, 1], [1, 4]] as const) file.add(thing, pixels.fill(value)); // biome-ignore format: short
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 7].filter((thing) => file.has(thing)), [0, 1, 2]); // biome-ignore format: short
  for (const [thing, value] of [[2, 3], [0, 2], [1, 4]] as const)
    assert.deepEqual([...file.read(thing, new Uint8Array(3))], [value, value, value]); // biome-ignore format: short
});
