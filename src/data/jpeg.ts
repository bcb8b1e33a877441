import { BUILD_HINT } from '../base/addon.ts';
import { UserError } from '../base/errors.ts';
import { rgbOfCmyk } from './cmyk.ts';
import { type JpegCodec, nativeImage } from './native-image.ts';
import { applyOrientation, jpegOrientation } from './orientation.ts';
import type { Picture } from './picture.ts';
import { portableJpeg } from './portable-jpeg.ts';

/** libturbojpeg in the addon where its headers were found, else its portable build, which gives the same bits. */
export const jpegCodec = (): JpegCodec => nativeImage.decodeJpeg ?? portableJpeg;

/** Holds any image that a face or glyph recipe reads; larger ones get a buffer of their own. */
const scratch = new Uint8Array(1024 * 1024 * 3);

/** A block of 64 pixels takes at least one bit in a Huffman-coded JPEG, so that a byte holds at most 512 pixels; twice that is allowed. */
export const MOST_PIXELS_PER_BYTE = 1024;

/** Decodes a JPEG to RGB, upright by EXIF. The pixels may be a view of a buffer that the next call overwrites. */
export function decodeJpeg(bytes: Uint8Array, codec = jpegCodec()): Picture {
  let buffer = scratch;
  let [height, width, channels] = codec(bytes, buffer, 0, buffer.length);
  if (channels !== 3 && channels !== 4)
    // 0.3.0 returned two numbers
    throw new UserError('build/image.node belongs to another version of mixbct', { hint: BUILD_HINT });
  const size = height * width * channels;
  if (size > buffer.length) {
    if (height * width > MOST_PIXELS_PER_BYTE * bytes.length)
      throw new Error(`the header states ${width} × ${height} pixels, more than ${bytes.length} bytes can hold`);
    buffer = new Uint8Array(size);
    [height, width, channels] = codec(bytes, buffer, 0, size);
  }
  const stored = buffer.subarray(0, height * width * channels);
  const pixels = channels === 4 ? rgbOfCmyk(stored, { inverted: true }) : stored;
  return applyOrientation({ pixels, height, width }, jpegOrientation(bytes));
}
