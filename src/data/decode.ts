import { createRequire } from 'node:module';
import type JpegTurbo from '@cwasm/jpeg-turbo';
import { nativeImage } from './native-image.ts';

// decoders that only some pictures need, loaded with the first of them
const sharp = async () => (await import('sharp')).default;
let jpegTurbo: typeof JpegTurbo | undefined;

/** RGB pixels, interleaved: [height, width, 3]. */
export type Picture = { readonly pixels: Uint8Array; readonly height: number; readonly width: number };

/** Larger than any picture a face or glyph recipe reads; it only bounds the buffer that fast decoding goes through. */
const scratch = new Uint8Array(1024 * 1024 * 3);

const startsWith = (bytes: Uint8Array, ...magic: number[]): boolean => magic.every((byte, i) => bytes[i] === byte);

/**
 * Decodes JPEG (libturbojpeg in the addon, or its bit-identical portable build), PGM and PPM here, and PNG, WebP and
 * whatever else sharp reads through sharp. What comes at once (no promise) may be a view of a buffer that the next call
 * overwrites: use it before you await anything.
 * @throws Error with the decoder's words; the caller knows the name of the image.
 */
export function decode(bytes: Uint8Array): Picture | Promise<Picture> {
  if (startsWith(bytes, 0xff, 0xd8)) return decodeJpeg(bytes) ?? decodeOther(bytes);
  if (startsWith(bytes, 0x50, 0x35) || startsWith(bytes, 0x50, 0x36)) return decodePnm(bytes);
  return decodeOther(bytes);
}

function decodeJpeg(bytes: Uint8Array): Picture | null {
  if (!nativeImage.decodeJpeg) return decodePortable(bytes);
  try {
    const [height, width] = nativeImage.decodeJpeg(bytes, scratch, 0, scratch.length);
    return height * width * 3 <= scratch.length
      ? { pixels: scratch.subarray(0, height * width * 3), height, width }
      : null;
  } catch (error) {
    if (error instanceof Error && error.message === 'CMYK JPEG') return null;
    throw error;
  }
}

function decodePortable(bytes: Uint8Array): Picture {
  jpegTurbo ??= createRequire(import.meta.url)('@cwasm/jpeg-turbo') as typeof JpegTurbo;
  const { data, width, height } = jpegTurbo.decode(bytes);
  const pixels = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < pixels.length; from += 4, to += 3) {
    pixels[to] = data[from]!;
    pixels[to + 1] = data[from + 1]!;
    pixels[to + 2] = data[from + 2]!;
  }
  return { pixels, height, width };
}

/** Netpbm's binary grey (P5) and colour (P6) with 8 bits: the glyph sets are stored so, for JPEG would blur them. */
export function decodePnm(bytes: Uint8Array): Picture {
  const head = /^P([56])\s+(?:#[^\n]*\n\s*)*(\d+)\s+(\d+)\s+(\d+)\s/.exec(
    Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 512)).toString('latin1'),
  );
  if (!head) throw new Error('the PGM or PPM header cannot be read');
  const [width, height, most] = [Number(head[2]), Number(head[3]), Number(head[4])];
  const channels = head[1] === '5' ? 1 : 3;
  const body = bytes.subarray(head[0].length);
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

async function decodeOther(bytes: Uint8Array): Promise<Picture> {
  const { data, info } = await (await sharp())(bytes)
    .toColourspace('srgb')
    .flatten({ background: '#000' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  if (info.channels === 3) return { pixels: data, height: info.height, width: info.width };
  return {
    pixels: Uint8Array.from(
      { length: info.width * info.height * 3 },
      (_, i) => data[Math.floor(i / 3) * info.channels]!,
    ),
    height: info.height,
    width: info.width,
  };
}

/** The picture as a square of `side` pixels; proportions are not kept, as face crops are square already. */
export async function resize({ pixels: source, height, width }: Picture, side: number): Promise<Picture> {
  const raw = { width, height, channels: 3 as const };
  const pixels = await (await sharp())(Buffer.from(source), { raw })
    .resize(side, side, { fit: 'fill' })
    .raw()
    .toBuffer();
  return { pixels, height: side, width: side };
}
