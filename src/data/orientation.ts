import type { Picture } from './picture.ts';

/** Value of the EXIF tag Orientation (0x0112): 1 is upright, 2 … 8 are mirrored or turned. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

const SOI_BYTES = 2;
const APP1 = 0xe1;
const START_OF_SCAN = 0xda;
const ORIENTATION_TAG = 0x0112;
const SHORT = 3;

/** Reads the orientation from a JPEG's EXIF. Without EXIF, or with a damaged one, it is 1. */
export function jpegOrientation(bytes: Uint8Array): Orientation {
  for (let at = SOI_BYTES; at + 4 <= bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1]!;
    if (marker === 0xff) {
      at++; // markers may be padded
      continue;
    }
    if (marker === START_OF_SCAN) return 1;
    const length = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    if (marker === APP1 && isExif(bytes, at + 4)) return tiffOrientation(bytes.subarray(at + 10, at + 2 + length));
    at += 2 + length;
  }
  return 1;
}

const isExif = (bytes: Uint8Array, at: number): boolean =>
  [0x45, 0x78, 0x69, 0x66, 0, 0].every((byte, i) => bytes[at + i] === byte); // "Exif\0\0"

/** Reads the orientation from the first directory of a TIFF structure. */
function tiffOrientation(tiff: Uint8Array): Orientation {
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength);
  if (view.byteLength < 8) return 1;
  const order = view.getUint16(0);
  if (order !== 0x4949 && order !== 0x4d4d) return 1;
  const little = order === 0x4949;
  const directory = view.getUint32(4, little);
  if (directory + 2 > view.byteLength) return 1;
  const entries = view.getUint16(directory, little);
  for (let entry = 0; entry < entries; entry++) {
    const at = directory + 2 + 12 * entry;
    if (at + 12 > view.byteLength) return 1;
    if (view.getUint16(at, little) !== ORIENTATION_TAG) continue;
    const value = view.getUint16(at + 8, little);
    return view.getUint16(at + 2, little) === SHORT && value >= 1 && value <= 8 ? (value as Orientation) : 1;
  }
  return 1;
}

/** Mirrors and turns a stored image upright. */
export function applyOrientation(picture: Picture, orientation: Orientation): Picture {
  if (orientation === 1) return picture;
  const { pixels: source, height: h, width: w } = picture;
  const turned = orientation >= 5;
  const [height, width] = turned ? [w, h] : [h, w];
  const last = h * w - 1;
  // where the upper left pixel is stored, and the steps from there down and to the right, in pixels
  const [start, down, right] = (
    {
      2: [w - 1, w, -1],
      3: [last, -w, -1],
      4: [last - w + 1, -w, 1],
      5: [0, 1, w],
      6: [last - w + 1, 1, -w],
      7: [last, -1, -w],
      8: [w - 1, -1, w],
    } as const
  )[orientation];
  const pixels = new Uint8Array(height * width * 3);
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0, from = (start + y * down) * 3; x < width; x++, from += 3 * right, to += 3) {
      pixels[to] = source[from]!;
      pixels[to + 1] = source[from + 1]!;
      pixels[to + 2] = source[from + 2]!;
    }
  return { pixels, height, width };
}
