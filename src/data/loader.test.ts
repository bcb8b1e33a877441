import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { testFolder } from '../../test/helpers/folder.ts';
import { gap } from '../../test/helpers/formula.ts';
import { pattern, writeTinySet } from '../../test/helpers/images.ts';
import { Rng } from '../base/rng.ts';
import { scope, toFloat32 } from '../torch/index.ts';
import { type Augmentation, applyTransform, sampleTransform } from './augment.ts';
import { imageTensor } from './collate.ts';
import { decode, decodePnm, encodePgm, resize } from './decode.ts';
import { importDataset } from './import-dataset.ts';
import { type EpochOptions, Loader } from './loader.ts';
import { nativeImage } from './native-image.ts';
import { openDataset } from './open-dataset.ts';
import type { Picture } from './picture.ts';
import { type PixelMapping, pixelMappings } from './pixels.ts';
import { sequentialOrder, shuffledOrder } from './sampler.ts';

/** How long a step takes that waits for no batch, and after how many of them a signal must have been heard. */
const [STEP_MS, SOON] = [15, 3];

const moderate: Augmentation = { flip: true, rotateDeg: 8, scale: 0.15, shift: 0.1 };

async function epochBytes(
  loader: Loader,
  options: EpochOptions,
): Promise<{ images: Buffer; labels: number[]; indices: number[] }> {
  const images: Buffer[] = [];
  const [labels, indices]: [number[], number[]] = [[], []];
  for await (const batch of loader.epoch(options)) {
    images.push(Buffer.from(batch.images));
    labels.push(...batch.labels);
    indices.push(...batch.indices);
    batch[Symbol.dispose]();
  }
  return { images: Buffer.concat(images), labels, indices };
}

test("the order is PyTorch's DistributedSampler's (methods.md 1.4, 8.15)", () => {
  assert.deepEqual(Array.from(shuffledOrder(10, 0)), [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]);
  assert.deepEqual(Array.from(shuffledOrder(10, 1)), [5, 6, 1, 2, 0, 8, 9, 3, 7, 4]);
  const ranks = [0, 1, 2].map((rank) => Array.from(shuffledOrder(10, 0, { processes: 3, rank })));
  assert.deepEqual(ranks, [
    [4, 5, 0, 2],
    [1, 3, 8, 4],
    [7, 9, 6, 1],
  ]);
});

test('pixels become x/127.5 - 1, or as the reference evaluates IJB (x - 127.5)/128 (8.15)', () => {
  const images = Uint8Array.from([0, 1, 127, 128, 255, 0, 0, 0, 0, 0, 0, 0]);
  const seen = (mapping?: PixelMapping): number[] => {
    const x = scope(() => toFloat32(imageTensor({ images, count: 1, side: 2 }, mapping)));
    // [1, 3, 2, 2] row-major: channel 0 of the four pixels comes first
    return [0, 4, 8, 1, 5].map((at) => x[at]!);
  };
  const FLOAT32 = 1e-7;
  assert.ok(gap(seen(), [-1, -0.9921568627, -0.0039215686, 0.0039215686, 1]) < FLOAT32);
  assert.deepEqual(seen(pixelMappings.ijb), [-0.99609375, -0.98828125, -0.00390625, 0.00390625, 0.99609375]);
});

test('0, 1 and 4 workers fill the same bytes, and an epoch can be entered in its middle', async (t) => {
  const prefix = join(testFolder(t), 'set');
  await writeTinySet(prefix, { perClass: [9, 8, 7, 6] });
  using dataset = openDataset(prefix);
  const options = {
    batchSize: 4,
    imageSide: 16,
    order: shuffledOrder(dataset.size, 3),
    dropLast: true,
    augment: moderate,
    seed: 5,
    epoch: 3,
  };
  const runs = [];
  for (const workers of [0, 1, 4]) {
    await using loader = new Loader(dataset, { workers });
    runs.push(await epochBytes(loader, options));
  }
  assert.equal(runs[0]!.labels.length, 28, '30 images, the last 2 are dropped');
  assert.deepEqual(runs[1], runs[0]);
  assert.deepEqual(runs[2], runs[0]);
  assert.deepEqual(
    runs[0]!.labels,
    runs[0]!.indices.map((i) => dataset.labels()[i]),
  );
  await using loader = new Loader(dataset, { workers: 2 });
  const rest = await epochBytes(loader, { ...options, firstBatch: 4 });
  assert.deepEqual(rest.images, runs[0]!.images.subarray(4 * 4 * 16 * 16 * 3));
  const other = await epochBytes(loader, { ...options, epoch: 4 });
  assert.notDeepEqual(other.images, runs[0]!.images, 'another epoch draws other changes');
  const plain = await epochBytes(loader, { batchSize: 4, imageSide: 16, order: sequentialOrder(dataset.size) });
  assert.equal(plain.labels.length, 30);
  assert.deepEqual(
    plain.images.subarray(0, 16 * 16 * 3),
    Buffer.from(decodePnm(encodePgm(pattern(0, 0, 16), 16, 16)).pixels),
  );
});

test('photographs of other sizes keep their own pixels, whatever the workers and whatever is decoded meanwhile', async (t) => {
  const folder = join(testFolder(t), 'photographs');
  const greys = Array.from({ length: 12 }, (_, i) => 20 * (i + 1));
  for (const [i, grey] of greys.entries()) {
    const directory = join(folder, `class-${String(i).padStart(2, '0')}`);
    mkdirSync(directory, { recursive: true });
    const [width, height] = [40 + i, 44];
    await sharp({ create: { width, height, channels: 3, background: { r: grey, g: grey, b: grey } } })
      .jpeg({ quality: 95 })
      .toFile(join(directory, 'a.jpg'));
  }
  using dataset = openDataset(folder);
  const task = { batchSize: 2, imageSide: 16, order: sequentialOrder(dataset.size) };
  for (const workers of [1, 2, 0]) {
    await using loader = new Loader(dataset, { workers });
    const { images } = await epochBytes(loader, task);
    for (const [i, grey] of greys.entries()) {
      const own = images.subarray(i * 16 * 16 * 3, (i + 1) * 16 * 16 * 3);
      assert.ok(
        own.every((value) => Math.abs(value - grey) <= 1),
        `picture ${i}, ${workers} workers: ${own[0]}`,
      );
    }
  }
  // two at a time in one thread
  const bytes = await Promise.all(greys.slice(0, 3).map((_, i) => dataset.record(i).image));
  const resized = await Promise.all(bytes.map((one) => resize(decode(one) as Picture, 16)));
  for (const [i, { pixels }] of resized.entries())
    assert.ok(Math.abs(pixels[0]! - greys[i]!) <= 1, `${i}: ${pixels[0]}`);
});

test('an unreadable image stops the epoch with its name, or is replaced and listed', async (t) => {
  const folder = testFolder(t);
  for (const label of ['a', 'b']) {
    mkdirSync(join(folder, label));
    for (let i = 0; i < 3; i++)
      writeFileSync(join(folder, label, `${i}.pgm`), encodePgm(pattern(label.charCodeAt(0), i, 16), 16, 16));
  }
  writeFileSync(join(folder, 'b', '1.jpg'), 'not a picture');
  using dataset = openDataset(folder);
  assert.deepEqual([dataset.size, dataset.classes, dataset.sidecar.classes], [7, 2, ['a', 'b']]);
  const options = { batchSize: 4, imageSide: 16, order: sequentialOrder(7) };
  for (const workers of [0, 2]) {
    await using loader = new Loader(dataset, { workers });
    await assert.rejects(epochBytes(loader, options), /b\/1\.jpg: cannot be read .*\n.*--skip-bad-images/);
    const seen = await epochBytes(loader, { ...options, skipBad: true });
    assert.deepEqual(seen.indices, [0, 1, 2, 3, 5, 5, 6], 'the first good image of its batch stands in');
    assert.deepEqual(
      loader.bad.map(({ name }) => name),
      [join(folder, 'b', '1.jpg')],
    );
  }
});

test('JPEG, PNG, WebP, PGM and PPM decode; odd sizes are brought to the side', async () => {
  const [height, width] = [24, 20];
  const rgb = Uint8Array.from({ length: height * width * 3 }, (_, i) => 128 + Math.round(100 * Math.sin(i / 90)));
  const image = sharp(rgb, { raw: { width, height, channels: 3 } });
  const exact = { pixels: Buffer.from(rgb), height, width };
  const seen = async (bytes: Uint8Array) => {
    const { pixels, ...size } = await decode(bytes);
    return { pixels: Buffer.from(pixels), ...size };
  };
  assert.deepEqual(await seen(await image.clone().png().toBuffer()), exact);
  assert.deepEqual(await seen(await image.clone().webp({ lossless: true }).toBuffer()), exact);
  assert.deepEqual(await seen(Buffer.concat([Buffer.from(`P6\n# a comment\n${width} ${height}\n255\n`), rgb])), exact);
  const jpeg = await image.clone().jpeg({ quality: 95 }).toBuffer();
  const reference = await sharp(jpeg).raw().toBuffer();
  assert.deepEqual((await seen(jpeg)).pixels, reference, 'libjpeg-turbo, bit for bit');
  const { default: portable } = await import('@cwasm/jpeg-turbo');
  const rgba = portable.decode(jpeg).data;
  assert.deepEqual(Buffer.from(rgba.filter((_, i) => i % 4 !== 3)), reference, 'the portable decoder too');
  assert.deepEqual(
    (await seen(await image.clone().greyscale().png().toBuffer())).pixels.length,
    height * width * 3,
    'grey becomes RGB',
  );
  for (const broken of ['P5\n4 4\n255\nshort', 'P5\nx', 'plain text'])
    await assert.rejects(async () => decode(Buffer.from(broken)));
  assert.throws(() => decode(jpeg.subarray(0, 40)));
});

test('the affine change equals its slow twin, and undoes what it says', () => {
  const side = 16;
  const { pixels } = decodePnm(encodePgm(pattern(3, 1, side), side, side));
  for (let draw = 0; draw < 20; draw++) {
    const transform = sampleTransform(moderate, new Rng(7).split(draw), side);
    const target = new Uint8Array(side * side * 3 + 5);
    applyTransform(pixels, transform, target, 5, side);
    assert.deepEqual(target.subarray(5), warpSlowly(pixels, transform.matrix!, side));
  }
  const still = sampleTransform({ flip: false, rotateDeg: 1e-9, scale: 0, shift: 0 }, new Rng(1), side);
  const target = new Uint8Array(side * side * 3);
  applyTransform(pixels, still, target, 0, side);
  assert.deepEqual(target, pixels);
  const right = Float64Array.of(1, 0, -2, 0, 1, 0); // 2 pixels to the right
  nativeImage.warpAffine(pixels, side, side, right, target, 0, side);
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) assert.equal(target[(y * side + x) * 3], x < 2 ? 0 : pixels[(y * side + x - 2) * 3]);
});

/** Bilinear reading with zeros outside, halves up, as plainly as it can be written. */
function warpSlowly(source: Uint8Array, m: Float64Array, side: number): Uint8Array {
  const at = (x: number, y: number, c: number): number =>
    x < 0 || y < 0 || x >= side || y >= side ? 0 : source[(y * side + x) * 3 + c]!;
  const target = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const [u, v] = [m[0]! * x + m[1]! * y + m[2]!, m[3]! * x + m[4]! * y + m[5]!];
      const [x0, y0] = [Math.floor(u), Math.floor(v)];
      const [wx, wy] = [u - x0, v - y0];
      for (let c = 0; c < 3; c++) {
        const value =
          (1 - wx) * (1 - wy) * at(x0, y0, c) +
          wx * (1 - wy) * at(x0 + 1, y0, c) +
          (1 - wx) * wy * at(x0, y0 + 1, c) +
          wx * wy * at(x0 + 1, y0 + 1, c);
        target[(y * side + x) * 3 + c] = Math.floor(value + 0.5);
      }
    }
  return target;
}

test('a mirrored image is the exact mirror, and half of them are', () => {
  const side = 16;
  const { pixels } = decodePnm(encodePgm(pattern(1, 1, side), side, side));
  let mirrored = 0;
  for (let draw = 0; draw < 200; draw++) {
    const transform = sampleTransform({ flip: true, rotateDeg: 0, scale: 0, shift: 0 }, new Rng(3).split(draw), side);
    const target = new Uint8Array(side * side * 3);
    applyTransform(pixels, transform, target, 0, side);
    if (transform.mirror) mirrored++;
    for (let i = 0; i < side; i++) assert.equal(target[i * 3], pixels[(transform.mirror ? side - 1 - i : i) * 3]);
  }
  assert.ok(mirrored > 75 && mirrored < 125, `${mirrored} of 200`);
});

test('an image folder becomes a record set with the same bytes and labels', async (t) => {
  const folder = testFolder(t);
  for (const label of ['b', 'a']) {
    mkdirSync(join(folder, 'in', label), { recursive: true });
    for (let i = 0; i < 2; i++)
      writeFileSync(join(folder, 'in', label, `${i}.pgm`), encodePgm(pattern(label.charCodeAt(0), i, 8), 8, 8));
  }
  using source = openDataset(join(folder, 'in'));
  const written = await importDataset(source, join(folder, 'out'));
  assert.deepEqual({ images: written.images, classes: written.classes }, { images: 4, classes: 2 });
  using set = openDataset(join(folder, 'out'));
  assert.deepEqual(Array.from(set.labels()), [0, 0, 1, 1]);
  for (let i = 0; i < 4; i++) assert.deepEqual(Buffer.from(set.record(i).image), Buffer.from(source.record(i).image));
  await assert.rejects(importDataset(source, join(folder, 'out')), /exists already/);
});

for (const workers of [0, 1])
  test(`signals are heard between batches that are always ready, with ${workers} threads`, async (t) => {
    const prefix = join(testFolder(t), 'set');
    await writeTinySet(prefix, { perClass: new Array(10).fill(8) });
    using dataset = openDataset(prefix);
    await using loader = new Loader(dataset, { workers });
    let heard = false;
    const hear = (): void => {
      heard = true;
    };
    process.on('SIGUSR2', hear);
    t.after(() => process.off('SIGUSR2', hear));
    let [batches, heardAt] = [0, -1];
    for await (using _ of loader.epoch({ batchSize: 4, imageSide: 16, order: sequentialOrder(80) })) {
      if (batches === 5) process.kill(process.pid, 'SIGUSR2');
      if (heard && heardAt < 0) heardAt = batches;
      const until = performance.now() + STEP_MS; // a step, which is longer than decoding
      while (performance.now() < until);
      batches++;
    }
    assert.equal(batches, 20);
    assert.ok(heardAt > 5 && heardAt <= 5 + SOON, `the signal of batch 5 was heard at ${heardAt}`);
  });

test('decoding threads start in a program that is given as text, whose flags are not theirs', async (t) => {
  const prefix = join(testFolder(t), 'set');
  await writeTinySet(prefix, { perClass: [3, 3] });
  const program = `
    import { Loader, openDataset, sequentialOrder } from ${JSON.stringify(new URL('./index.js', import.meta.url).href)};
    const loader = new Loader(openDataset(${JSON.stringify(prefix)}), { workers: 1 });
    let images = 0;
    for await (const batch of loader.epoch({ batchSize: 2, imageSide: 8, order: sequentialOrder(6) })) images += batch.labels.length;
    console.log(images);
    await loader[Symbol.asyncDispose]();
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  assert.equal(stdout, '6\n', stderr);
});
