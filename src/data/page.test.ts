// The code of docs/adding-a-dataset.md, as it stands there, is a dataset that the loader reads.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { pattern } from '../../test/helpers/images.ts';
import { loadPage } from '../../test/helpers/page.ts';
import type { Dataset } from './dataset.ts';
import { encodePgm } from './decode.ts';
import { Loader } from './loader.ts';

test('the page on adding a dataset shows one whose images, labels and ids reach a network', async (t) => {
  const { ImageList } = await loadPage<{ readonly ImageList: new (path: string) => Dataset }>(t, 'adding-a-dataset.md');
  const folder = testFolder(t);
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  mkdirSync(join(folder, 'images'));
  for (const i of [0, 1, 2]) writeFileSync(join(folder, `images/${i}.pgm`), encodePgm(pattern(i, 0, 16), 16, 16));
  const lines = 'zoe\timages/2.pgm\nanna\timages/0.pgm\nzoe\timages/1.pgm\n';
  const list = new ImageList(write('people.tsv', lines));
  assert.deepEqual(
    [list.size, list.classes, list.sidecar.classes, [...list.labels()]],
    [3, 2, ['anna', 'zoe'], [1, 0, 1]],
  );
  for (const workers of [0, 2]) {
    await using loader = new Loader(list, { workers });
    for await (const batch of loader.epoch({ batchSize: 3, imageSide: 16, order: Int32Array.of(0, 1, 2) })) {
      const grey = (i: number): number[] =>
        [...batch.images.subarray(i * 768, (i + 1) * 768)].filter((_, k) => k % 3 === 0);
      assert.deepEqual(
        [0, 1, 2].map(grey),
        [2, 0, 1].map((label) => [...pattern(label, 0, 16)]),
      );
      assert.deepEqual([...batch.labels], [1, 0, 1]);
    }
  }
  assert.equal(list.id(1), 'images/0.pgm');
  assert.notEqual(new ImageList(write('other.tsv', lines.replace('anna', 'otto'))).digest, list.digest);
  assert.throws(() => new ImageList(write('bad.tsv', 'anna images/0.pgm\n')), /bad\.tsv: image 1 has 1 columns/);
});
