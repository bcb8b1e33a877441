import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { testFolder } from '../../test/helpers/folder.ts';
import { FileError } from '../base/errors.ts';
import { decode } from './decode.ts';
import { Loader } from './loader.ts';
import { packDataset, readPack } from './packs.ts';
import { sequentialOrder } from './sampler.ts';

const folder = resolve(import.meta.dirname, '../../../test/golden/packs');
const packs = readdirSync(folder);
const [PAIRS, SIDE] = [10, 6];

/** Picture `i` as test/golden/make_packs.py draws it. */
const picture = (i: number): Uint8Array =>
  Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, k) => {
    const [y, x, c] = [Math.floor(k / 3 / SIDE), Math.floor(k / 3) % SIDE, k % 3];
    return 37 * i + 11 * y + 5 * x + 60 * c;
  });

for (const name of packs)
  test(`${name} is read: ${2 * PAIRS} pictures, ${PAIRS} labels`, async () => {
    const pack = readPack(join(folder, name));
    assert.deepEqual(pack.same, Array.from({ length: PAIRS }, (_, p) => p % 3 !== 0)); // biome-ignore format: short
    assert.equal(pack.images.length, 2 * PAIRS);
    for (const [i, image] of pack.images.entries())
      assert.deepEqual(Uint8Array.from((await decode(Uint8Array.from(image))).pixels), picture(i));
  });

test('the loader gives the pictures of a pack, resized where the network is of another side', async () => {
  using dataset = packDataset(readPack(join(folder, 'python2-protocol2.bin')));
  assert.deepEqual([dataset.size, dataset.classes], [2 * PAIRS, PAIRS]);
  assert.deepEqual([...dataset.labels()].slice(0, 4), [0, 0, 1, 1]);
  const read = async (imageSide: number, workers: number): Promise<Buffer> => {
    await using loader = new Loader(dataset, { workers });
    const batches: Buffer[] = [];
    for await (using batch of loader.epoch({ batchSize: 7, imageSide, order: sequentialOrder(dataset.size) }))
      batches.push(Buffer.from(batch.images));
    return Buffer.concat(batches);
  };
  const plain = Buffer.concat(Array.from({ length: 2 * PAIRS }, (_, i) => picture(i)));
  assert.deepEqual(await read(SIDE, 0), plain);
  assert.deepEqual(await read(SIDE, 2), plain);
  const larger = await read(2 * SIDE, 1);
  const image = sharp(picture(3), { raw: { width: SIDE, height: SIDE, channels: 3 } });
  const expected = await image.resize(2 * SIDE, 2 * SIDE).raw().toBuffer(); // biome-ignore format: short
  assert.deepEqual(larger.subarray(3 * expected.length, 4 * expected.length), expected);
});

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const list = (count: number, item: string): string => `](${item.repeat(count)}e`;
const dtype = (name: string): string => `cnumpy\ndtype\nU\x02${name}K\x00K\x01\x87R`;

test('whatever else a pickle holds is refused', (t) => {
  const path = join(testFolder(t), 'x.bin');
  const cases: readonly (readonly [string, RegExp])[] = [
    ['N.', /x\.bin: is no verification pack: it is no pair of images and labels\n.*wanted \(list of 2P/],
    [`${list(2, 'U\x01a')}.`, /images and labels are no lists/],
    [`${list(2, 'U\x01a')}N\x86.`, /images and labels are no lists/],
    [`${list(2, 'U\x01a')}${list(2, '\x88')}\x86.`, /2 images and 2 labels/],
    [`]]\x86.`, /0 images and 0 labels/],
    [`${list(2, 'K\x01')}${list(1, '\x88')}\x86.`, /image 0 is not made of bytes/],
    [`${list(2, 'U\x00')}${list(1, '\x88')}\x86.`, /image 0 is empty/],
    [`${list(2, 'U\x01a')}${list(1, 'K\x01')}\x86.`, /label 0 is no boolean/],
    ["cos\nsystem\n(S'true'\ntR.", /GLOBAL at byte 0: it names os\.system/],
    [`${dtype('u1')}.`, /a NumPy array of u1, wanted images as bytes and labels as booleans\n.*pickle\.dump/],
    [
      '\x93NUMPY\x01\x00',
      /x\.bin: is a NumPy array \(\.npy\), wanted a verification pack: a pickle of.*\n.*pickle\.dump/,
    ],
    [`cnumpy.core.multiarray\nscalar\n${dtype('b1')}U\x01\x02\x86R.`, /one byte, 0 or 1/],
    [`cnumpy.core.multiarray\nscalar\nNU\x01\x01\x86R.`, /wanted booleans of NumPy/],
    [`cnumpy.core.multiarray\n_reconstruct\nN\x85R.`, /wanted an array of NumPy/],
    ['cnumpy\nndarray\n)R.', /numpy\.ndarray, which may only be named/],
  ];
  for (const [text, message] of cases) {
    writeFileSync(path, bytes(text));
    assert.throws(
      () => readPack(path),
      (error) => error instanceof FileError && message.test(error.message),
      JSON.stringify(text),
    );
  }
  assert.throws(() => readPack(`${path}.none`), /no such file/);
});

test('a picture that is not square, or is none, is named', async (t) => {
  const path = join(testFolder(t), 'x.bin');
  const oblong = await sharp({ create: { width: 4, height: 5, channels: 3, background: '#777' } })
    .png()
    .toBuffer();
  const entry = (image: Buffer): string => `T${String.fromCharCode(image.length & 255, image.length >> 8, 0, 0)}${image.toString('latin1')}`; // biome-ignore format: short
  for (const [image, message] of [
    [oblong, /x\.bin: image 0 \(pair 0\): cannot be read \(is 4 × 5, the pictures of a pack are square\)/],
    [Buffer.from('nothing'), /x\.bin: image 0 \(pair 0\): cannot be read/],
  ] as const) {
    writeFileSync(path, bytes(`${list(2, entry(image))}${list(1, '\x88')}\x86.`));
    using dataset = packDataset(readPack(path));
    await using loader = new Loader(dataset, { workers: 0 });
    await assert.rejects(loader.epoch({ batchSize: 2, imageSide: 6, order: sequentialOrder(2) }).next(), message);
  }
});
