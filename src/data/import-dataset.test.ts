import assert from 'node:assert/strict';
import { existsSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeImages } from '../../test/helpers/image-tree.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { UserError } from '../base/errors.ts';
import type { Dataset } from './dataset.ts';
import { describeDataset, describeEmptyClasses } from './dataset-info.ts';
import { importDataset } from './import-dataset.ts';
import { openDataset } from './open-dataset.ts';
import { packImage, writeRecords } from './recordio.ts';
import { readSidecar, writeSidecar } from './sidecar.ts';

function contents(prefix: string) {
  using dataset = openDataset(prefix);
  const rows = Array.from({ length: dataset.size }, (_, i) => ({
    id: dataset.id(i),
    label: dataset.labels()[i],
    bytes: Buffer.from(dataset.record(i).image).toString('hex'),
  }));
  return { rows, classes: dataset.sidecar.classes, count: dataset.classes };
}

test('broken images are named by their files and nothing is written, or they are left out and listed', async (t) => {
  const folder = testFolder(t);
  const root = join(folder, 'in');
  writeImages(root, ['a/1.pgm', 'a/2.pgm', 'b/1.jpg', 'b/2.png', 'c/1.pgm', 'd/1.pgm', 'd/2.pgm']);
  const clean = contents(root);
  writeFileSync(join(root, 'a/1.pgm'), '');
  writeFileSync(join(root, 'b/1.jpg'), 'no image');
  writeFileSync(join(root, 'b/2.png'), Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 1]));
  using dataset = openDataset(root);
  const out = join(folder, 'out');
  await assert.rejects(importDataset(dataset, out), (error) => {
    assert.ok(error instanceof UserError);
    assert.match(error.message, /in: 3 of 7 images cannot be read\n {2}.*in\/a\/1\.pgm: cannot be read \(.*\)\n {2}.*in\/b\/1\.jpg/);
    assert.match(error.message, /--skip-bad-images/);
    return true;
  }); // biome-ignore format: a message
  assert.ok(!existsSync(`${out}.rec`) && !existsSync(`${out}.ids.jsonl`));
  const imported = await importDataset(dataset, out, { skipBadImages: true });
  assert.deepEqual([imported.images, imported.classes, imported.skippedClasses], [4, 3, ['b']]);
  assert.deepEqual(
    imported.skippedImages.map(({ id }) => id),
    ['a/1.pgm', 'b/1.jpg', 'b/2.png'],
  );
  const after = contents(out);
  assert.deepEqual(after.classes, ['a', 'c', 'd']);
  assert.deepEqual(after.rows.map(({ label }) => label), [0, 1, 2, 2]); // biome-ignore format: short
  for (const { id, bytes } of after.rows) assert.equal(bytes, clean.rows.find((row) => row.id === id)!.bytes);
  const unchecked = importDataset(dataset, join(folder, 'unchecked'), { check: false });
  await assert.rejects(unchecked, /in\/a\/1\.pgm: is empty/);
  writeFileSync(join(root, 'a/1.pgm'), 'P5');
  await importDataset(dataset, join(folder, 'unchecked'), { check: false });
  assert.equal(contents(join(folder, 'unchecked')).rows.length, 7);
});

test('the digest that a maker pinned goes with all images in their order, and with no others', async (t) => {
  const folder = testFolder(t);
  const prefix = join(folder, 'set');
  await writeTinySet(prefix, { perClass: [2, 2] });
  writeSidecar(prefix, { classes: ['a', 'b'], imageDigest: 'pinned' });
  using set = openDataset(prefix);
  const pinned = async (source: Dataset, name: string): Promise<string | undefined> => {
    await importDataset(source, join(folder, name), { skipBadImages: true });
    return readSidecar(join(folder, name)).imageDigest;
  };
  assert.equal(await pinned(set, 'whole'), 'pinned');
  const other = join(folder, 'damaged');
  await writeRecords(other, (writer) => {
    writer.write(0, packImage({ labels: [5, 2], id: 0, image: new Uint8Array() }));
    for (let i = 0; i < 4; i++) {
      const image = i === 2 ? Buffer.from('P5') : Buffer.from(set.record(i).image);
      writer.write(i + 1, packImage({ labels: [i >> 1, 0], id: i + 1, image }));
    }
  });
  writeSidecar(other, set.sidecar);
  using damaged = openDataset(other);
  assert.equal(await pinned(damaged, 'part'), undefined);
  const unchecked = importDataset(damaged, join(folder, 'third'), { skipBadImages: true, check: false });
  await assert.rejects(unchecked, /pass --skip-bad-images without --no-check/);
});

test('a set of which no image can be read is not written', async (t) => {
  const folder = testFolder(t);
  writeImages(join(folder, 'in'), ['a/1.pgm']);
  writeFileSync(join(folder, 'in/a/1.pgm'), 'P5');
  using dataset = openDataset(join(folder, 'in'));
  const importing = importDataset(dataset, join(folder, 'out'), { skipBadImages: true });
  await assert.rejects(importing, /none of 1 images can be read/);
});

test('threads find what one thread finds', async (t) => {
  const folder = testFolder(t);
  const names = Array.from({ length: 900 }, (_, i) => `${i % 7}/${i}.pgm`);
  writeImages(folder, names);
  const broken = names.filter((_, i) => i % 97 === 5);
  for (const name of broken) writeFileSync(join(folder, name), 'P5 8 8 255 short');
  using dataset = openDataset(folder);
  const { bad, sizes, decoded } = await describeDataset(dataset, { verify: true });
  assert.deepEqual(bad.map(({ name }) => name).sort(), broken.map((name) => join(folder, name)).sort());
  assert.deepEqual([sizes, decoded], [[{ size: '8×8', images: names.length - broken.length }], names.length]);
});

test('info, import and train say what of a folder they pass over; info tells few of many sizes', (t) => {
  const folder = testFolder(t);
  const root = join(folder, 'in');
  writeImages(root, ['a/1.pgm', 'a/2.heic', '.git/x.png', 'b/notes.txt']);
  symlinkSync('nowhere', join(root, 'a/3.pgm'));
  for (let side = 8; side < 40; side++) writeImages(root, [`c/${side}.pgm`], side);
  const passed = [
    /in: skipped: 1 \.heic file \(a\/2\.heic\)/,
    /in: skipped: 1 \.txt file \(b\/notes\.txt\)/,
    /in: skipped: 1 hidden file or folder \(\.git\)/,
    /in: skipped: 1 link that leads nowhere \(a\/3\.pgm\)/,
    /in: 1 folder holds no image and is no class \(b\)/,
  ];
  const info = mixbct(folder, 'data', 'info', 'in');
  assert.equal(info.code, 0, info.err);
  for (const text of passed) assert.match(info.err, text);
  assert.match(info.out, /33 decoded: 2 of 8×8, 1 of 9×9, .*, 28 of 28 other sizes \(height 8 … 39, width 8 … 39\)/);
  assert.match(info.out, /1 class of one image/);
  const json = JSON.parse(mixbct(folder, 'data', 'info', 'in', '--json').out);
  assert.equal(json.sizes.length, 32);
  assert.equal(json.skippedFiles.skipped.length, 4);
  const imported = mixbct(folder, 'data', 'import', 'in', '--out', 'set', '--json');
  assert.equal(imported.code, 0, imported.err);
  for (const text of passed) assert.match(imported.err, text);
  assert.deepEqual(JSON.parse(imported.out).skippedFiles.emptyClasses, ['b']);
  writeFileSync(
    join(folder, 'recipe.yaml'),
    'network: { name: r18, embeddingDim: 8, inputSide: 16, width: 0.0625 }\nepochs: 1\nbatchSize: 8\n',
  );
  const trained = mixbct(folder, 'train', 'recipe.yaml', '--data', 'in', '--out', 'run', '--json');
  assert.equal(trained.code, 0, trained.err);
  for (const text of passed) assert.match(trained.err, text);
  assert.equal(JSON.parse(trained.out).skippedFiles.skipped.length, 4);
  rmSync(join(root, 'a/1.pgm'));
  writeFileSync(join(root, 'a/1.pgm'), 'P5');
  const stopped = mixbct(folder, 'data', 'import', 'in', '--out', 'again');
  assert.equal(stopped.code, 2);
  assert.match(stopped.err, /in\/a\/1\.pgm: cannot be read/);
});

test('classes without images are told, the first of them by name', async (t) => {
  const told = async (perClass: readonly number[]) => {
    const prefix = join(testFolder(t), 'set');
    await writeTinySet(prefix, { perClass });
    using dataset = openDataset(prefix);
    return { told: describeEmptyClasses(dataset), names: dataset.sidecar.classes };
  };
  assert.equal((await told([1, 2])).told, null);
  const { told: some, names } = await told([0, 1, 0, 0, 0, 2]);
  const [a, b, c] = [0, 2, 3].map((id) => names?.[id] ?? id);
  assert.equal(some, `4 of 6 classes have no image (${a}, ${b}, ${c}, …)`);
});
