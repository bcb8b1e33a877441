import { z } from 'zod';
import { logLine } from '../base/progress.ts';
import type { GlyphSetOptions } from '../data/glyphs/index.ts';
import { type GlyphSetName, glyphSetNames } from '../data/glyphs/names.ts';
import { defineStage } from '../experiment/stage.ts';

/** Fetches a set, with a word on what is fetched and one if it is not what it was when it was pinned. */
export async function fetchSet(name: GlyphSetName, options: GlyphSetOptions) {
  const { getGlyphs, glyphSources } = await import('../data/index.ts');
  logLine(`${glyphSources[name].title} (${glyphSources[name].download})`);
  const result = await getGlyphs(name, options);
  if (result.expected !== null && result.expected !== result.imageDigest)
    logLine(
      `note: the images have digest ${result.imageDigest}, not ${result.expected} as when the published numbers were measured: a typeface or the runtime has changed`,
    );
  return result;
}

export const getStage = defineStage({
  kind: 'get',
  summary: 'fetch a public data set and prepare it',
  inputs: {},
  options: {
    set: z.enum(glyphSetNames),
    side: z.int().min(8).max(512).default(32),
    levels: z.union([z.literal(1), z.literal(2)]).default(1),
  },
  sharedFolder: ({ set }) => set,
  describe: ({ set }) => `fetch ${set}`,
  run: async ({ set, side, levels }, { dataFolder }) =>
    (await fetchSet(set, { folder: dataFolder, side, levels })).prefix,
});
