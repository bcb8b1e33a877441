import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { create as createFont, Font } from 'fontkit';
import { FileError, messageOf } from '../../base/errors.ts';
import { rasterise } from './raster.ts';

/** One typeface: the maker of one image of each character it has. */
export type Face = {
  readonly name: string;
  /** Faces that are weights or relatives of each other share a family. */
  readonly family: string;
  /** Opens the files, for one face at a time takes tens of megabytes. → draws a character, null where the face lacks it. */
  open(): (codePoint: number, side: number) => Uint8Array | null;
};

/** Loaded with the first typeface: the other commands need none. */
let create: typeof createFont | undefined;

function openFont(path: string, index = 0): Font {
  try {
    create ??= (createRequire(import.meta.url)('fontkit') as { readonly create: typeof createFont }).create;
    const opened = create(readFileSync(path));
    return 'fonts' in opened ? opened.fonts[index]! : opened;
  } catch (error) {
    throw new FileError(
      path,
      `is no typeface that can be read (${messageOf(error)})`,
      'delete the folder it lies in and fetch the data set again',
    );
  }
}

const draw = (font: Font, code: number, side: number): Uint8Array | null =>
  rasterise(font.glyphForCodePoint(code).path.commands, font.unitsPerEm, side);

/** A face in one file, or in a collection of several. */
export const fileFace = (name: string, family: string, path: string, index: number): Face => ({
  name,
  family,
  open() {
    const font = openFont(path, index);
    return (code, side) => (font.hasGlyphForCodePoint(code) ? draw(font, code, side) : null);
  },
});

/** A face cut into about a hundred web slices: `<name>-<slice>-400-normal.woff2`, or `-wght-normal` of a variable one. */
export const slicedFace = (name: string, folder: string): Face => ({
  name,
  family: name,
  open() {
    const slices = readdirSync(folder)
      .filter((file) => /-\d+-(400|wght)-normal\.woff2$/.test(file))
      .sort();
    if (slices.length === 0)
      throw new FileError(folder, 'holds no slices of a typeface', 'delete the folder and fetch the data set again');
    const where = new Map<number, Font>();
    for (const slice of slices) {
      const font = openFont(join(folder, slice));
      for (const code of font.characterSet) if (!where.has(code)) where.set(code, font);
    }
    return (code, side) => {
      const font = where.get(code);
      return font ? draw(font, code, side) : null;
    };
  },
});
