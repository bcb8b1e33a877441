import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { pattern, writeTinySet } from '../../test/helpers/images.ts';
import { encodePgm } from './decode.ts';
import { importDataset } from './import-dataset.ts';
import { openDataset } from './open-dataset.ts';
import { holdOut, sampleImages, split } from './split.ts';

const idsOf = (prefix: string): string[] => {
  using dataset = openDataset(prefix);
  return Array.from({ length: dataset.size }, (_, i) => dataset.id(i));
};

test('an image keeps its path inside the folder through import, split, sample and hold-out', async (t) => {
  const folder = testFolder(t);
  const names = ['b/2.pgm', 'a/1.pgm', 'a/0.pgm', 'b/1.pgm', 'c/0.pgm', 'c/1.pgm'];
  for (const [i, name] of names.entries()) {
    mkdirSync(dirname(join(folder, 'in', name)), { recursive: true });
    writeFileSync(join(folder, 'in', name), encodePgm(pattern(i, 0, 8), 8, 8));
  }
  const sorted = names.toSorted();
  assert.deepEqual(idsOf(join(folder, 'in')), sorted);
  using source = openDataset(`${join(folder, 'in')}/`);
  assert.deepEqual(source.id(0), 'a/0.pgm', 'a slash at the end changes nothing');
  const prefix = join(folder, 'set');
  await importDataset(source, prefix);
  using set = openDataset(prefix);
  assert.ok(source.hasOwnIds && set.hasOwnIds);
  assert.deepEqual(idsOf(prefix), sorted);
  assert.match(set.name(3), /set\.rec: image 3 \(key 4, b\/2\.pgm\)/);
  const halves = await split(set, { by: 'class', ratio: 1 / 3 });
  assert.deepEqual(halves.map(({ prefix }) => idsOf(prefix)), [sorted.slice(0, 2), sorted.slice(2)]); // biome-ignore format: short
  const [kept, trained] = await holdOut(set, { classes: 1, seed: 1 });
  assert.deepEqual([...idsOf(kept!.prefix), ...idsOf(trained!.prefix)].sort(), sorted);
  const sample = idsOf((await sampleImages(set, { perClass: 1, seed: 1 })).prefix);
  assert.equal(new Set(sample.map((id) => id[0])).size, 3);
  assert.ok(sample.every((id) => sorted.includes(id)));
});

test('a record set without ids has its keys for them; ids of an older set under its name are removed', async (t) => {
  const folder = testFolder(t);
  const prefix = join(folder, 'set');
  await writeTinySet(prefix, { perClass: [1, 2] });
  using set = openDataset(prefix);
  assert.ok(!set.hasOwnIds);
  assert.deepEqual(idsOf(prefix), ['1', '2', '3']);
  await importDataset(set, join(folder, 'other'));
  assert.ok(existsSync(join(folder, 'other.ids.jsonl')));
  await writeTinySet(join(folder, 'other'), { perClass: [2, 3] });
  assert.deepEqual(idsOf(join(folder, 'other')), ['1', '2', '3', '4', '5']);
});
