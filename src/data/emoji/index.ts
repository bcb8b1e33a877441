import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../base/errors.ts';
import { fetchNpm } from '../glyphs/fetch.ts';
import type { GetResult } from '../glyphs/index.ts';
import { recordFiles } from '../recordio.ts';
import { readSidecar } from '../sidecar.ts';
import { buildEmoji } from './build.ts';
import { type IconSet, openIconSet } from './icon-set.ts';
import type { EmojiSetName } from './names.ts';

/** Packages of drawings, and their designers: the sets of one designer are one family. */
const packages: readonly (readonly [name: string, version: string, family: string])[] = [
  ['noto', '1.2.9', 'google'],
  ['noto-v1', '1.2.5', 'google'],
  ['twemoji', '1.2.5', 'twitter'],
  ['openmoji', '1.2.29', 'openmoji'],
  ['fluent-emoji', '1.2.7', 'microsoft'],
  ['fluent-emoji-flat', '1.2.6', 'microsoft'],
  ['emojione', '1.2.3', 'emojione'],
  ['emojione-v1', '1.2.3', 'emojione'],
  ['fxemoji', '1.2.2', 'mozilla'],
  ['streamline-emojis', '1.2.4', 'streamline'],
];
const SCOPE = '@iconify-json';

/** Sets that must draw an emoji for it to be a class. */
const DRAWINGS = 4;

/** The sets `mixbct data get` knows. */
export const emojiSources = {
  e10: {
    title: 'E10: emoji, 10 sets of drawings from npm',
    download: '10 npm packages, 178 MB',
    note: 'emoji drawn by 10 sets of 7 designers (Apache-2.0, MIT, CC-BY-4.0, CC-BY-SA-4.0: keep the recipe, do not pass on the images)',
    pinned: { 32: '9519aebeb7a61f6c' } as Readonly<Record<number, string>>,
  },
} as const;

export type EmojiSetOptions = {
  /** The folder for all data sets: the set goes to `<folder>/<name>/`, its packages to `<folder>/<name>/drawings`. */
  readonly folder: string;
  /** Pixels of an image's side. */
  readonly side?: number;
  readonly force?: boolean;
};

/** Fetches the packages of a set and draws it, unless it is there. */
export async function getEmoji(
  name: EmojiSetName,
  { folder, side = 32, force = false }: EmojiSetOptions,
): Promise<GetResult> {
  if (!(Number.isInteger(side) && side >= 8 && side <= 512))
    throw new UserError(`side ${side}: wanted a whole number of pixels from 8 to 512`);
  const { note, pinned } = emojiSources[name];
  const prefix = join(folder, name, `${name}_${side}`);
  const expected = pinned[side] ?? null;
  const isWhole = existsSync(recordFiles(prefix).idx);
  const there = isWhole ? readSidecar(prefix).imageDigest : undefined;
  if (there && !force) return { prefix, made: null, imageDigest: there, expected };
  const cache = join(folder, name, 'drawings');
  await fetchNpm(
    packages.map(([set, version]) => `${SCOPE}/${set}@${version}`),
    cache,
  );
  const sets = packages.map(
    ([set, , family]): IconSet => openIconSet(set, family, join(cache, 'node_modules', SCOPE, set, 'icons.json')),
  );
  // a set of another origin stays
  const made = await buildEmoji(sets, { side, prefix, note, force: force || !isWhole, drawings: DRAWINGS });
  return { prefix, made, imageDigest: made.imageDigest, expected };
}
