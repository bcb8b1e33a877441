import { resolve } from 'node:path';
import sharp from 'sharp';

/** Real drawings of characters: a row for each character, a column for each typeface. */
export const GLYPH_SHEET = {
  subjects: 60,
  faces: 8,
  side: 32,
  path: resolve(import.meta.dirname, '../../../test/golden/glyphs.png'),
} as const;

/** RGB pixels [side, side, 3] of a character in a typeface. */
export type Glyphs = (subject: number, face: number) => Uint8Array;

export async function readGlyphs(): Promise<Glyphs> {
  const { faces, side, path } = GLYPH_SHEET;
  const sheet = await sharp(path).toColourspace('b-w').raw().toBuffer();
  return (subject, face) =>
    Uint8Array.from({ length: side * side * 3 }, (_, k) => {
      const i = Math.floor(k / 3);
      return sheet[((subject * side + Math.floor(i / side)) * faces + face) * side + (i % side)]!;
    });
}
