import assert from 'node:assert/strict';
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { FileError } from '../base/errors.ts';
import { datasetInfoLines, describeDataset } from './dataset-info.ts';
import { importDataset } from './import-dataset.ts';
import { numberClasses } from './number-classes.ts';
import { openDataset } from './open-dataset.ts';
import { layoutOf, type Records } from './record-layout.ts';
import { packImage, writeRecords } from './recordio.ts';
import { writeSidecar } from './sidecar.ts';

const ALL = new Int32Array(42_000_100);
for (let key = 0; key < ALL.length; key++) ALL[key] = key;

/** The records of a set of `images`, and of `identities` behind them. */
const records = (images: number, identities = 0, lost = 0): Records => ({
  rec: 'x.rec',
  idx: 'x.idx',
  keys: ALL.subarray(0, images + 1 + identities - lost),
  isEmpty: (position) => position > images,
});

/** What a header says after it was stored. */
const stored = (end: number, x: number): [number, number] => [Math.fround(end), Math.fround(x)];

test('sets of any size are read by a header whose float32 rounds', () => {
  for (const images of [1, 999, 2 ** 24 - 2, 2 ** 24 - 1, 2 ** 24, 2 ** 24 + 1, 2 ** 24 + 2, 42_000_001]) {
    const own = layoutOf(records(images), stored(images + 1, 7));
    assert.deepEqual(own, { from: 1, until: images + 1, classes: 7 }, `${images} images`);
    for (const identities of images > 2 ** 24 + 1 ? [50] : [1, 5]) {
      const end = images + 1;
      const ms1m = layoutOf(records(images, identities), stored(end, end + identities));
      assert.deepEqual(
        ms1m,
        { from: 1, until: end, classes: identities },
        `${images} images, ${identities} identities`,
      );
    }
    if (images > 1)
      for (const lost of [Math.min(8, images - 1)])
        assert.throws(
          () => layoutOf(records(images, 0, lost), stored(images + 1, 7)),
          /x\.idx: lists \d+ images before/,
        );
  }
  assert.throws(() => layoutOf(records(42_000_000, 50, 20), stored(42_000_001, 42_000_051)), /records up to key/);
});

test('a header that makes no sense is refused, whatever it says', () => {
  for (const end of [Number.NaN, -1, 0, 0.5, 3, 2 ** 24, 1e9, 1e30, Number.POSITIVE_INFINITY])
    for (const x of [Number.NaN, -1, 0, 2.5, 2 ** 24 + 2, 1e30])
      assert.throws(() => layoutOf(records(10), [end, x]), FileError, `${end}, ${x}`);
  assert.throws(() => layoutOf(records(0), [1, 1]), /holds no images/);
  assert.throws(
    () => layoutOf(records(10), [11, 2 ** 24]),
    /states 16777216 classes of 10 images, wanted 1 to 1048586/,
  );
});

test('class ids with holes are numbered anew', () => {
  const numbered = numberClasses(Int32Array.of(2_000_000_000, 7, 7, 100, 2_000_000_000));
  assert.deepEqual(numbered, {
    labels: Int32Array.of(2, 0, 0, 1, 2),
    classes: 3,
    ids: Int32Array.of(7, 100, 2_000_000_000),
  });
  assert.equal(numberClasses(Int32Array.of(1, 0, 2)).ids, null);
});

const write = (prefix: string, labels: readonly (readonly number[])[], from = 0): Promise<void> =>
  writeRecords(prefix, (writer) => {
    for (const [i, own] of labels.entries())
      writer.write(from + i, packImage({ labels: own, id: i, image: Buffer.from(`P5 1 1 255\n${i}`) }));
  });

test('a first record with two labels and an image is an image', async (t) => {
  const prefix = join(testFolder(t), 'a');
  await write(prefix, [[3, 2], [0, 2], [1, 0], [2, 1]]); // biome-ignore format: short
  using dataset = openDataset(prefix);
  assert.deepEqual([dataset.size, dataset.classes, [...dataset.labels()]], [4, 4, [3, 0, 1, 2]]);
  assert.equal(Buffer.from(dataset.record(0).image).toString(), 'P5 1 1 255\n0');
});

test('a record set without header keeps the ids of its classes as their names, through import', async (t) => {
  const folder = testFolder(t);
  const ids = [16_777_215, 5, 1_000_000, 5];
  await write(join(folder, 'a'), ids.map((id) => [id])); // biome-ignore format: short
  using dataset = openDataset(join(folder, 'a'));
  assert.deepEqual([dataset.classes, [...dataset.labels()]], [3, [2, 0, 1, 0]]);
  const info = await describeDataset(dataset);
  assert.deepEqual([info.classes, info.classesWithoutImages, info.imagesPerClass.most], [3, 0, 2]);
  await importDataset(dataset, join(folder, 'b'));
  using imported = openDataset(join(folder, 'b'));
  assert.deepEqual(imported.sidecar.classes, ['5', '1000000', '16777215']);
  assert.deepEqual([imported.classes, [...imported.labels()]], [3, [0, 0, 1, 2]]);
  await write(join(folder, 'named'), [[0], [2]]); // biome-ignore format: short
  writeSidecar(join(folder, 'named'), { classes: ['a', 'b', 'c'] });
  using named = openDataset(join(folder, 'named'));
  assert.deepEqual([named.classes, [...named.labels()]], [3, [0, 2]], 'names tell the classes, also of none');
});

test('labels that float32 does not tell apart, and names that are too few, are refused', async (t) => {
  const prefix = join(testFolder(t), 'a');
  const pack = (label: number): Buffer => packImage({ labels: [label], id: 3, image: Buffer.from('x') });
  assert.throws(() => pack(2 ** 24), /image 3: class id 16777216, but a record holds ids below 16777216/);
  const large = pack(0);
  large.writeFloatLE(2e9, 4);
  await writeRecords(prefix, (writer) => writer.write(5, large));
  assert.throws(() => openDataset(prefix), /record with key 5 .*label 2000000000 is no class id from 0 to 16777215/);
  await writeRecords(prefix, (writer) => {
    writer.write(0, packImage({ labels: [2, 3], id: 0, image: new Uint8Array() }));
    writer.write(1, pack(1));
  });
  writeSidecar(prefix, { classes: ['a', 'b'] });
  assert.throws(() => openDataset(prefix), /a\.json: names 2 classes, the record set has 3/);
});

test('data info tells names by a digest: two that are swapped are seen', async (t) => {
  const prefix = join(testFolder(t), 'a');
  await write(prefix, [[0, 0], [1, 1]]); // biome-ignore format: short
  const told = async (families: string[] | undefined) => {
    writeSidecar(prefix, families ? { families } : {});
    using dataset = openDataset(prefix);
    const info = await describeDataset(dataset);
    return { digest: info.descriptionDigest, text: datasetInfoLines(info).join('\n') };
  };
  const [plain, swapped, none] = [await told(['serif', 'sans']), await told(['sans', 'serif']), await told(undefined)];
  assert.notEqual(plain.digest, swapped.digest);
  assert.notEqual(plain.text, swapped.text);
  assert.match(plain.text, /\n {2}names and ids: digest [0-9a-f]{16}\n/);
  assert.equal(none.digest, null);
  assert.match(none.text, /: 1 … 1 each/);
  assert.doesNotMatch(none.text, /names and ids/);
});

test('data info says that the digest of a large set is one of samples', async (t) => {
  const prefix = join(testFolder(t), 'a');
  await write(prefix, [[0], [1]]); // biome-ignore format: short
  const told = async (): Promise<string> => {
    using dataset = openDataset(prefix);
    return datasetInfoLines(await describeDataset(dataset))[0]!;
  };
  assert.match(await told(), /\(digest [0-9a-f]{16}\)$/);
  truncateSync(`${prefix}.rec`, 300 * 2 ** 20); // a hole: no disk is filled
  assert.match(await told(), /\(digest [0-9a-f]{16}, of file sizes and samples of their bytes\)$/);
});
