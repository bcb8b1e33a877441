import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { damage } from '../../test/helpers/damage.ts';
import { pattern } from '../../test/helpers/images.ts';
import { Rng } from '../base/rng.ts';
import { decode, encodePgm } from './decode.ts';
import { decodeJpeg, jpegCodec } from './jpeg.ts';
import type { JpegCodec } from './native-image.ts';
import { jpegOrientation } from './orientation.ts';
import type { Picture } from './picture.ts';
import { portableJpeg } from './portable-jpeg.ts';

/** Images of every kind that needs a decision, and what PIL makes of them: `make_decoded.py` beside it. */
const golden: Record<string, { file: string; height: number; width: number; rgb: string }> = JSON.parse(
  readFileSync(resolve(import.meta.dirname, '../../../test/golden/decoded.json'), 'utf8'),
);
const fileOf = (name: string): Buffer => Buffer.from(golden[name]!.file, 'base64');

type Decoder = (bytes: Uint8Array) => Picture | Promise<Picture>;
const jpegDecoders: readonly (readonly [string, Decoder])[] = [
  ['decode', decode],
  ['the default JPEG decoder', (bytes) => decodeJpeg(bytes, jpegCodec())],
  ['the portable JPEG decoder', (bytes) => decodeJpeg(bytes, portableJpeg)],
];
const isJpeg = (bytes: Uint8Array): boolean => bytes[0] === 0xff && bytes[1] === 0xd8;
const decodersOf = (bytes: Uint8Array) => (isJpeg(bytes) ? jpegDecoders : jpegDecoders.slice(0, 1));

/** A copy of the pixels, which may be a view. */
async function decoded(decoder: Decoder, bytes: Uint8Array) {
  const { pixels, height, width } = await decoder(bytes);
  return { height, width, rgb: Buffer.from(pixels).toString('base64') };
}

for (const [name, { file: _, ...wanted }] of Object.entries(golden))
  test(`as PIL reads it: ${name}`, async () => {
    for (const [which, decoder] of decodersOf(fileOf(name)))
      assert.deepEqual(await decoded(decoder, fileOf(name)), wanted, which);
  });

test('orientations of one picture: all eight JPEGs show the same as sharp and the portable decoder', async () => {
  const [width, height] = [37, 22];
  const raw = { width, height, channels: 3 as const };
  const stored = Buffer.from(Array.from({ length: height * width * 3 }, (_, i) => (i * 31 + (i >> 5)) % 256));
  for (let orientation = 1; orientation <= 8; orientation++) {
    const jpeg = await sharp(stored, { raw }).jpeg({ quality: 92 }).withMetadata({ orientation }).toBuffer();
    assert.equal(jpegOrientation(jpeg), orientation);
    const { data, info } = await sharp(jpeg).autoOrient().raw().toBuffer({ resolveWithObject: true });
    const wanted = { height: info.height, width: info.width, rgb: data.toString('base64') };
    for (const [which, decoder] of jpegDecoders) assert.deepEqual(await decoded(decoder, jpeg), wanted, which);
  }
});

test('a damaged EXIF never stops the image from being read', () => {
  const jpeg = fileOf('JPEG of orientation 6');
  const end = jpeg.indexOf(Buffer.from([0xff, 0xdb]));
  const rng = new Rng('damaged EXIF');
  for (let round = 0; round < 5000; round++) {
    const head = damage(Buffer.from(jpeg.subarray(2, end)), [0, 1, 2, 0x12, 0x2a, 0x49, 0x4d, 0xe1, 0xff], rng);
    const orientation = jpegOrientation(Buffer.concat([jpeg.subarray(0, 2), head, jpeg.subarray(end)]));
    assert.ok(Number.isInteger(orientation) && orientation >= 1 && orientation <= 8, head.toString('hex'));
  }
});

test('samples of 16 bits give their upper 8', async () => {
  const values = Uint16Array.from({ length: 6 * 4 * 3 }, (_, i) => i * 907);
  const raw = { width: 6, height: 4, channels: 3 as const };
  const wanted = Uint8Array.from(values, (value) => value >> 8);
  const image = sharp(values, { raw }).toColourspace('rgb16');
  for (const file of [image.clone().png(), image.clone().tiff({ compression: 'lzw' })])
    assert.deepEqual(Uint8Array.from((await decode(await file.toBuffer())).pixels), wanted);
  const grey = await sharp(values.subarray(0, 24), { raw: { width: 6, height: 4, channels: 1 } })
    .toColourspace('grey16')
    .png()
    .toBuffer();
  const triple = wanted.subarray(0, 24);
  assert.deepEqual(Uint8Array.from((await decode(grey)).pixels), Uint8Array.from({ length: 72 }, (_, i) => triple[Math.floor(i / 3)]!)); // biome-ignore format: a list
});

/** Every marker segment of a JPEG: [start, end). */
function segments(jpeg: Buffer): [number, number][] {
  const found: [number, number][] = [];
  for (let at = 2; jpeg[at] === 0xff && jpeg[at + 1] !== 0xd9; ) {
    const end = at + 2 + jpeg.readUInt16BE(at + 2);
    found.push([at, end]);
    if (jpeg[at + 1] === 0xda) break;
    at = end;
  }
  return found;
}

/** Damaged copies: cut at each segment, each segment gone, emptied, filled with 0xff or given another kind, and bytes changed. */
function damagedCopies(jpeg: Buffer, rng: Rng): Buffer[] {
  const copies = [jpeg.subarray(0, 2), jpeg.subarray(0, 3), jpeg.subarray(0, jpeg.length - 30)];
  for (const [start, end] of segments(jpeg)) {
    const changed = (change: (copy: Buffer) => void): Buffer => {
      const copy = Buffer.from(jpeg);
      change(copy);
      return copy;
    };
    copies.push(
      jpeg.subarray(0, start + 3),
      jpeg.subarray(0, end),
      Buffer.concat([jpeg.subarray(0, start), jpeg.subarray(end)]),
      Buffer.concat([jpeg.subarray(0, end), jpeg.subarray(start)]),
      changed((copy) => copy.fill(0, start + 4, end)),
      changed((copy) => copy.fill(255, start + 4, end)),
      changed((copy) => copy.writeUInt16BE(65535, start + 2)),
      ...[0xc1, 0xc3, 0xc9, 0xc4, 0xda, 0xdb, 0xdd, 0xd9].map((kind) => changed((copy) => copy.writeUInt8(kind, start + 1))), // biome-ignore format: a list
    );
  }
  const bytes = [0, 1, 3, 4, 8, 0x11, 0x22, 0xc0, 0xc2, 0xc4, 0xd8, 0xd9, 0xda, 0xdb, 0xff];
  for (let round = 0; round < 60; round++) copies.push(damage(Buffer.from(jpeg), bytes, rng));
  return copies.filter(isJpeg);
}

test('after a damaged image, of whatever kind, the next is decoded as if it had not been', async () => {
  const good = ['RGB JPEG', 'grey JPEG', 'RGB progressive JPEG', 'CMYK JPEG', 'YCCK JPEG', 'JPEG of orientation 6', 'RGB PNG'].map((name) => [fileOf(name), golden[name]!.rgb] as const); // biome-ignore format: a list
  const rng = new Rng('damaged JPEGs');
  const bad = good.flatMap(([file]) => (isJpeg(file) ? damagedCopies(file, rng) : []));
  for (const [which, decoder] of jpegDecoders) {
    let failed = 0;
    for (const [k, damaged] of bad.entries()) {
      try {
        await decoder(damaged);
      } catch {
        failed++;
      }
      const [next, rgb] = good[k % (which === 'decode' ? good.length : good.length - 1)]!;
      const seen = await decoded(decoder, next);
      assert.equal(seen.rgb, rgb, `${which}, after ${damaged.toString('hex')}`);
    }
    assert.ok(failed > bad.length / 4 && failed < bad.length, `${failed} of ${bad.length}`);
    const header = Buffer.from(good[0]![0]);
    header.fill(0xff, 4, 200);
    for (const [next, rgb] of good.slice(0, 6)) {
      await assert.rejects(async () => decoder(header));
      assert.equal((await decoded(decoder, next)).rgb, rgb, 'each good one directly after an unreadable header');
    }
  }
});

test('a size that only the header states allocates nothing', async () => {
  const huge = (name: string): Buffer => {
    const jpeg = fileOf(name);
    const [start] = segments(jpeg).find(([at]) => jpeg[at + 1] === 0xc0 || jpeg[at + 1] === 0xc2)!;
    jpeg.writeUInt16BE(65_500, start + 5);
    jpeg.writeUInt16BE(65_400, start + 7);
    return jpeg;
  };
  const before = process.memoryUsage();
  for (const [which, decoder] of jpegDecoders)
    for (const name of ['RGB JPEG', 'RGB progressive JPEG', 'CMYK JPEG'])
      await assert.rejects(
        async () => decoder(huge(name)),
        /the header states 65400 × 65500 pixels, more than \d+ bytes can hold/,
        `${which}: ${name}`,
      );
  const png = fileOf('RGB PNG');
  png.writeUInt32BE(16_000, 16);
  png.writeUInt32BE(16_000, 20);
  await assert.rejects(async () => decode(png));
  for (const size of ['99999 99999', `${'9'.repeat(300)} 1`, '0 4', '4 0', `0 ${'9'.repeat(400)}`])
    await assert.rejects(async () => decode(Buffer.from(`P6\n${size}\n255\nabc`)), /cut short|0 ×|× 0/);
  const after = process.memoryUsage();
  assert.ok(after.external - before.external < 64e6, 'buffers');
  assert.ok(after.rss - before.rss < 256e6, 'memory of the decoders');
});

test('an addon of 0.3.0, which returned height and width only, is told and not believed', () => {
  const older = (() => [10, 13]) as unknown as JpegCodec;
  assert.throws(() => decodeJpeg(fileOf('RGB JPEG'), older), /another version of mixbct\n.*npm run setup/);
});

test('large images are read whole: more pixels than the kept buffer holds', async () => {
  const side = 1100;
  const grey = pattern(3, 1, side);
  const raw = { width: side, height: side, channels: 1 as const };
  const jpeg = await sharp(grey, { raw }).jpeg({ quality: 90 }).toBuffer();
  const wanted = await sharp(jpeg).toColourspace('srgb').raw().toBuffer();
  for (const [which, decoder] of jpegDecoders)
    assert.ok(wanted.equals((await decoder(jpeg)).pixels as Uint8Array), which);
  const blank = await sharp({ create: { width: side, height: side, channels: 3, background: '#fff' } }).webp({ lossless: true }).toBuffer(); // biome-ignore format: a chain
  assert.equal((await decode(blank)).pixels.length, side * side * 3, `${blank.length} bytes`);
  assert.equal((await decode(encodePgm(grey, side, side))).pixels.length, side * side * 3);
});
