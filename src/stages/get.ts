import { z } from 'zod';
import { UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import type { GetResult } from '../data/get-set.ts';
import type { GlyphSetOptions } from '../data/glyphs/index.ts';
import { type IconSetName, iconSetNames } from '../data/icons/names.ts';
import { type PublicSetName, publicSetNames } from '../data/public-sets.ts';
import { defineStage } from '../experiment/stage.ts';

/** Fetches a set, with a word on what is fetched and one if it is not what it was when it was pinned. */
export async function fetchSet(name: PublicSetName, options: GlyphSetOptions): Promise<GetResult> {
  const { getGlyphs, getIcons, glyphSources, iconSources } = await import('../data/index.ts');
  const { levels = 1, ...others } = options;
  const isIcons = isIconSet(name);
  if (isIcons && levels !== 1)
    throw new UserError(`levels ${levels}: ${name} has no characters of JIS levels, only k12 and k55 have`);
  const { title, download } = isIcons ? iconSources[name] : glyphSources[name];
  logLine(`${title} (${download})`);
  const result = await (isIcons ? getIcons(name, others) : getGlyphs(name, options));
  if (result.expected !== null && result.expected !== result.imageDigest)
    logLine(
      `note: the images have digest ${result.imageDigest}, not ${result.expected} as when the published numbers were measured: a typeface, a drawing or the runtime has changed`,
    );
  return result;
}

const isIconSet = (name: PublicSetName): name is IconSetName => (iconSetNames as readonly string[]).includes(name);

export const getStage = defineStage({
  kind: 'get',
  summary: 'fetch a public data set and prepare it',
  inputs: {},
  options: {
    set: z.enum(publicSetNames),
    side: z.int().min(8).max(512).default(32),
    levels: z.union([z.literal(1), z.literal(2)]).default(1),
  },
  sharedFolder: ({ set }) => set,
  describe: ({ set }) => `fetch ${set}`,
  run: async ({ set, side, levels }, { dataFolder }) =>
    (await fetchSet(set, { folder: dataFolder, side, levels })).prefix,
});
