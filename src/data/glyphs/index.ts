import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../base/errors.ts';
import type { GlyphSet } from '../drawings.ts';
import { recordFiles } from '../recordio.ts';
import { readSidecar } from '../sidecar.ts';
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

/** `made` is null if the set was there already. `expected` is the digest of the images as first made, where one is pinned. */
export type GetResult = {
  readonly prefix: string;
  readonly made: GlyphSet | null;
  readonly imageDigest: string;
  readonly expected: string | null;
};

/** Where `getGlyphs` puts a set. */
export const glyphPrefix = (name: GlyphSetName, { folder, side = 32, levels = 1 }: GlyphSetOptions): string =>
  join(folder, name, `${name}_${side}${levels === 2 ? '_levels12' : ''}`);

/** Fetches the typefaces of a set and draws it, unless it is there. */
export async function getGlyphs(name: GlyphSetName, options: GlyphSetOptions): Promise<GetResult> {
  const { folder, side = 32, levels = 1, force = false } = options;
  if (!(Number.isInteger(side) && side >= 8 && side <= 512))
    throw new UserError(`side ${side}: wanted a whole number of pixels from 8 to 512`);
  const source = glyphSources[name];
  const prefix = glyphPrefix(name, options);
  const expected = source.pinned[`${side}/${levels}`] ?? null;
  const isWhole = existsSync(recordFiles(prefix).idx);
  const there = isWhole ? readSidecar(prefix).imageDigest : undefined;
  if (there && !force) return { prefix, made: null, imageDigest: there, expected };
  const faces = await source.faces(join(folder, name, 'typefaces'));
  const made = await buildGlyphs(faces, source.codePoints(levels), {
    side,
    prefix,
    note: source.note,
    force: force || !isWhole, // a set of another origin stays
  });
  return { prefix, made, imageDigest: made.imageDigest, expected };
}
