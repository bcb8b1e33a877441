import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../../test/helpers/folder.ts';
import { mountSmallDisk } from '../../../test/helpers/small-disk.ts';
import { DiskFullError } from '../../artifacts/durable-write.ts';
import { openDataset } from '../index.ts';
import { buildGlyphs } from './build.ts';
import type { Face } from './faces.ts';

const [SIDE, CHARACTERS] = [16, 40];

/** Draws a pattern of its own for each character. */
const faces: readonly Face[] = ['serif', 'sans'].map((name, i) => ({
  name,
  family: name,
  open: () => (code, side) => Uint8Array.from({ length: side * side }, (_, k) => (k * (code - 0x4dff + i)) % 256),
}));
const codePoints = Array.from({ length: CHARACTERS }, (_, i) => 0x4e00 + i);

const build = (folder: string) =>
  buildGlyphs(faces, codePoints, { side: SIDE, prefix: join(folder, 'set'), note: 'patterns', force: false });

test('a set that is drawn onto a full disk leaves nothing, and has the same bytes when there is room', async (t) => {
  const whole = testFolder(t);
  const { images } = await build(whole);
  assert.equal(images, 2 * CHARACTERS);
  const names = readdirSync(whole).sort();
  const bytes = (folder: string): Buffer[] => names.map((name) => readFileSync(join(folder, name)));
  let full = 0;
  for (const pages of [1, 2, 3, 5, 8, 11, 13, 16]) {
    const disk = mountSmallDisk(4096 * pages);
    if (!disk) return t.skip('only root may mount a small disk');
    try {
      const folder = join(disk.path, 'k12');
      mkdirSync(folder);
      try {
        await build(folder);
      } catch (error) {
        assert.ok(error instanceof DiskFullError, `${pages}: ${error}`);
        assert.ok(error.message.startsWith(`${join(folder, 'set')}: the disk is full`), error.message);
        assert.deepEqual(readdirSync(folder), [], `${pages} pages`);
        full++;
        disk.resize(1 << 24);
        await build(folder);
      }
      assert.deepEqual(readdirSync(folder).sort(), names);
      assert.deepEqual(bytes(folder), bytes(whole));
      using dataset = openDataset(join(folder, 'set'));
      assert.deepEqual([dataset.size, dataset.classes], [images, CHARACTERS]);
    } finally {
      disk.unmount();
    }
  }
  assert.ok(full >= 4, `${full} disks were full`);
});
