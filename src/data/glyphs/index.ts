import { join } from 'node:path';
import { type GetResult, getSet } from '../get-set.ts';
import { buildGlyphs } from './build.ts';
import type { GlyphSetName } from './names.ts';
import { glyphSources } from './sets.ts';

export type { GlyphSet } from '../drawings.ts';
export { type GlyphSetName, glyphSetNames } from './names.ts';
export { glyphSources } from './sets.ts';

export type GlyphSetOptions = {
  /** The folder for all data sets: the set goes to `<folder>/<name>/`, its typefaces to `<folder>/<name>/typefaces`. */
  readonly folder: string;
  /** Pixels of an image's side. */
  readonly side?: number;
  /** JIS levels: 1 has 2,965 characters, both have 6,355. */
  readonly levels?: 1 | 2;
  readonly force?: boolean;
};

/** Where `getGlyphs` puts a set. */
export const glyphPrefix = (name: GlyphSetName, { folder, side = 32, levels = 1 }: GlyphSetOptions): string =>
  join(folder, name, `${name}_${side}${levels === 2 ? '_levels12' : ''}`);

/** Fetches the typefaces of a set and draws it, unless it is there. */
export async function getGlyphs(name: GlyphSetName, options: GlyphSetOptions): Promise<GetResult> {
  const { folder, side = 32, levels = 1, force = false } = options;
  const source = glyphSources[name];
  const prefix = glyphPrefix(name, options);
  return await getSet({ prefix, side, pinned: source.pinned[`${side}/${levels}`], force }, async (mayReplace) => {
    const faces = await source.faces(join(folder, name, 'typefaces'));
    return await buildGlyphs(faces, source.codePoints(levels), { side, prefix, note: source.note, force: mayReplace });
  });
}
