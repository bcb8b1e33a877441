import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { testFolder } from '../../test/helpers/folder.ts';
import { scope, toFloat32 } from '../torch/index.ts';
import { imageTensor } from './collate.ts';
import { resize } from './decode.ts';
import { Loader, openDataset, sequentialOrder } from './index.ts';
import { inputSchema, modelInput } from './model-input.ts';
import { pixelMappings, pixelPresets, type Resize, stretched } from './pixels.ts';

const declared = (raw: unknown) => modelInput(inputSchema.parse(raw));

test('nothing, the preset unit and its numbers are one mapping; a preset turns round with the channels', () => {
  const unit = [undefined, {}, { pixels: 'unit' }, { mean: 127.5, std: [127.5, 127.5, 127.5] }];
  for (const raw of unit) {
    const { pixels, resize } = raw === undefined ? modelInput(undefined) : declared(raw);
    assert.equal(pixels, pixelMappings.train);
    assert.deepEqual(resize, stretched);
  }
  assert.deepEqual(declared({ pixels: 'imagenet', channels: 'BGR' }).pixels, {
    channels: 'BGR',
    mean: [103.53, 116.28, 123.675],
    std: [57.375, 57.12, 58.395],
  });
  const { pixels, resize } = declared({ mean: 127.5, std: 128, resize: 'fit', background: [1, 2, 3] });
  assert.deepEqual(pixels, pixelMappings.ijb);
  assert.notEqual(pixels, pixelMappings.ijb, 'what a model declares is told from what an evaluation asked for');
  assert.deepEqual(resize, { rule: 'fit', background: [1, 2, 3] });
});

test('declarations that contradict themselves, and numbers of pixels from 0 to 1, are refused', () => {
  for (const [raw, message] of [
    [{ mean: 0.5, std: 0.5 }, /wanted a number from 1 to 1000/],
    [{ mean: [1, 2], std: 1 }, /or three in brackets/],
    [{ mean: 1 }, /mean and std belong together/],
    [{ pixels: 'unit', mean: 1, std: 1 }, /one or the other/],
    [{ background: [0, 0, 0] }, /resize: fit/],
    [{ resize: 'fit', background: [0, 0, 256] }, /255/],
    [{ resize: 'pad' }, /stretch/],
    [{ channels: 'rgb' }, /BGR/],
  ] as const)
    assert.throws(() => inputSchema.parse(raw), message);
});

test('each channel has its mean and standard deviation, in the order in which the model takes channels', () => {
  const images = Uint8Array.from({ length: 2 * 2 * 2 * 3 }, (_, i) => (i * 37) % 256);
  for (const pixels of [pixelPresets.imagenet, { channels: 'BGR', mean: [1, 2, 3], std: [4, 5, 6] } as const]) {
    const x = scope(() => toFloat32(imageTensor({ images, count: 2, side: 2 }, pixels)));
    const expected = Array.from(x, (_, i) => {
      const [image, channel, at] = [Math.floor(i / 12), Math.floor(i / 4) % 3, i % 4];
      const byte = images[image * 12 + at * 3 + (pixels.channels === 'BGR' ? 2 - channel : channel)]!;
      return (byte - pixels.mean[channel]!) / pixels.std[channel]!;
    });
    const FLOAT32 = 1e-5;
    assert.ok(Math.max(...expected.map((value, i) => Math.abs(value - x[i]!))) < FLOAT32, pixels.channels);
  }
});

/** A picture of 8 columns and 4 rows: red, green in the middle half, blue. */
const wide = (() => {
  const pixels = new Uint8Array(4 * 8 * 3);
  for (let i = 0; i < 4 * 8; i++) pixels[3 * i + (i % 8 < 2 ? 0 : i % 8 < 6 ? 1 : 2)] = 255;
  return { pixels, height: 4, width: 8 };
})();

/** The colour at a place of a square: its largest channel, and whether it is clear. */
const colourAt = (square: Uint8Array, side: number, row: number, column: number): string => {
  const [r, g, b] = square.subarray(3 * (row * side + column));
  return r! > 200 && g! > 200 ? 'background' : r! > 200 ? 'red' : g! > 200 ? 'green' : b! > 200 ? 'blue' : 'mixed';
};

const rules: readonly { rule: Resize['rule']; top: string; middle: readonly string[] }[] = [
  { rule: 'stretch', top: 'red', middle: ['red', 'green', 'blue'] },
  { rule: 'fit', top: 'background', middle: ['red', 'green', 'blue'] },
  { rule: 'crop', top: 'green', middle: ['green', 'green', 'green'] },
];

test('a wide picture is stretched, gets margins, or loses its sides', async () => {
  for (const { rule, top, middle } of rules) {
    const { pixels, height, width } = await resize(wide, 16, { rule, background: [255, 255, 0] });
    assert.deepEqual([height, width], [16, 16]);
    assert.equal(colourAt(pixels, 16, 1, 1), top, rule);
    assert.deepEqual(
      [1, 8, 14].map((column) => colourAt(pixels, 16, 8, column)),
      middle,
      rule,
    );
  }
});

test('the loader follows the rule in its thread and in workers', async (t) => {
  const folder = testFolder(t);
  mkdirSync(join(folder, 'set/a'), { recursive: true });
  const raw = { width: wide.width, height: wide.height, channels: 3 as const };
  writeFileSync(join(folder, 'set/a/1.png'), await sharp(wide.pixels, { raw }).png().toBuffer());
  using dataset = openDataset(join(folder, 'set'));
  for (const workers of [0, 1]) {
    await using loader = new Loader(dataset, { workers });
    for (const { rule, top } of rules) {
      const rest = { rule, background: [255, 255, 0] } as const;
      const order = sequentialOrder(1);
      for await (using batch of loader.epoch({ batchSize: 1, imageSide: 16, resize: rest, order }))
        assert.equal(colourAt(batch.images, 16, 1, 1), top, `${rule}, ${workers} workers`);
    }
  }
});
