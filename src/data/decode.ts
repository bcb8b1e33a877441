import type { Sharp } from 'sharp';
import { rgbOfCmyk } from './cmyk.ts';
import { decodeJpeg, MOST_PIXELS_PER_BYTE } from './jpeg.ts';
import type { Picture } from './picture.ts';
import { type Resize, type resizeRules, stretched } from './pixels.ts';

// loaded with the first image that needs it
const sharp = async () => (await import('sharp')).default;

const startsWith = (bytes: Uint8Array, ...magic: number[]): boolean => magic.every((byte, i) => bytes[i] === byte);

/**
 * Decodes an image to 8-bit RGB with the pixels of PIL's `ImageOps.exif_transpose(image).convert('RGB')`: upright by EXIF,
 * alpha dropped, colour profiles ignored, CMYK by PIL's formula, the upper 8 of 16 bits, the first frame or page. JPEG, PGM
 * and PPM come at once, and may be a view of a buffer that the next call overwrites: use it before you await anything.
 * Others (PNG, WebP, GIF, TIFF, AVIF) come through sharp, as a promise. Two things differ from PIL: 16-bit grey is not clipped
 * at 255, and a transparent pixel of a GIF is black.
 * @throws Error with the decoder's message; the caller knows the name of the image.
 */
export function decode(bytes: Uint8Array): Picture | Promise<Picture> {
  if (startsWith(bytes, 0xff, 0xd8)) return decodeJpeg(bytes);
  if (startsWith(bytes, 0x50, 0x35) || startsWith(bytes, 0x50, 0x36)) return decodePnm(bytes);
  return decodeOther(bytes);
}

/** Netpbm's binary grey (P5) and colour (P6) with 8 bits: glyph sets are stored in it, because JPEG would blur them. */
export function decodePnm(bytes: Uint8Array): Picture {
  const head = /^P([56])\s+(?:#[^\n]*\n\s*)*(\d+)\s+(\d+)\s+(\d+)\s/.exec(
    Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 512)).toString('latin1'),
  );
  if (!head) throw new Error('the PGM or PPM header cannot be read');
  const [width, height, most] = [Number(head[2]), Number(head[3]), Number(head[4])];
  const channels = head[1] === '5' ? 1 : 3;
  const body = bytes.subarray(head[0].length);
  if (width === 0 || height === 0) throw new Error(`PGM or PPM of ${width} × ${height} pixels`);
  if (most !== 255) throw new Error(`PGM or PPM with ${most + 1} levels: only 256 are read`);
  if (body.length < width * height * channels)
    throw new Error(`cut short: ${width * height * channels} bytes of pixels wanted, ${body.length} there`);
  if (channels === 3) return { pixels: body.subarray(0, width * height * 3), height, width };
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) pixels.fill(body[i]!, i * 3, i * 3 + 3);
  return { pixels, height, width };
}

/** 8-bit grey pixels [height, width] as a PGM file. */
export function encodePgm(grey: Uint8Array, height: number, width: number): Uint8Array {
  return Buffer.concat([Buffer.from(`P5\n${width} ${height}\n255\n`, 'latin1'), grey]);
}

/** 8-bit RGB pixels [height, width, 3] as a PPM file. */
export function encodePpm(rgb: Uint8Array, height: number, width: number): Uint8Array {
  return Buffer.concat([Buffer.from(`P6\n${width} ${height}\n255\n`, 'latin1'), rgb]);
}

async function decodeOther(bytes: Uint8Array): Promise<Picture> {
  const image = (await sharp())(bytes, { ignoreIcc: true, limitInputPixels: pixelLimit(bytes) }).autoOrient();
  if (isTiff(bytes)) {
    const { space, depth } = await image.metadata();
    if (space === 'cmyk') {
      if (depth !== 'uchar') throw new Error(`is a CMYK TIFF with ${depth} samples: only 8 bits are read`);
      const { pixels, height, width } = await rawPixels(image.pipelineColourspace('cmyk').toColourspace('cmyk'), 4);
      return { pixels: rgbOfCmyk(pixels, { inverted: false }), height, width };
    }
  }
  return rawPixels(image.toColourspace('srgb').removeAlpha(), 3);
}

async function rawPixels(image: Sharp, wanted: number): Promise<Picture> {
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
  const { height, width, channels } = info;
  if (channels !== wanted) throw new Error(`has ${channels} colour channels, wanted ${wanted}`);
  return { pixels: data, height, width };
}

/**
 * The most pixels that the header of an image of this size may state. A blank WebP or AVIF of any size takes a few bytes, so
 * 4096 × 4096 are always allowed.
 */
const pixelLimit = (bytes: Uint8Array): number =>
  Math.min(SHARP_PIXEL_LIMIT, Math.max(4096 * 4096, MOST_PIXELS_PER_BYTE * bytes.length));

/** The default of sharp. */
const SHARP_PIXEL_LIMIT = 0x3fff ** 2;

/** Of the formats that sharp reads here, only TIFF can be CMYK. */
const isTiff = (bytes: Uint8Array): boolean =>
  startsWith(bytes, 0x49, 0x49, 0x2a, 0) || startsWith(bytes, 0x4d, 0x4d, 0, 0x2a);

/** Names of the rules in sharp. */
const sharpFits = { stretch: 'fill', fit: 'contain', crop: 'cover' } as const satisfies Record<
  (typeof resizeRules)[number],
  unknown
>;

/** The picture as a square of `side` pixels; unless told otherwise, proportions are not kept. */
export async function resize(
  { pixels: source, height, width }: Picture,
  side: number,
  { rule, background: [r, g, b] }: Resize = stretched,
): Promise<Picture> {
  const raw = { width, height, channels: 3 as const };
  const own = Buffer.from(source); // before anything is waited for: the next picture may overwrite what was decoded
  const pixels = await (await sharp())(own, { raw })
    .resize(side, side, { fit: sharpFits[rule], background: { r, g, b } })
    .raw()
    .toBuffer();
  return { pixels, height: side, width: side };
}
