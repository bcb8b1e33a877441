import { encodePgm } from '../decode.ts';
import { buildDrawings, type GlyphSet } from '../drawings.ts';
import type { Face } from './faces.ts';

type Build = { readonly side: number; readonly prefix: string; readonly note: string; readonly force: boolean };

/**
 * Draws every character with every face into a record set sorted by character; a character that no face has is no class. Skips
 * blanks and, within one face, every picture that two characters share: a face uses such pictures for what it lacks.
 */
export function buildGlyphs(
  faces: readonly Face[],
  codePoints: readonly number[],
  { side, ...build }: Build,
): Promise<GlyphSet> {
  return buildDrawings(faces, {
    ...build,
    title: 'draw typefaces',
    bytes: side * side,
    draw: (face, add) => {
      const drawGlyph = face.open();
      for (const [at, code] of codePoints.entries()) {
        const pixels = drawGlyph(code, side);
        if (pixels?.some((p) => p !== 0)) add(at, pixels);
      }
    },
    things: codePoints.map((code) => String.fromCodePoint(code)),
    drawings: 1,
    encode: (pixels) => encodePgm(pixels, side, side),
  });
}
