import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../base/errors.ts';
import { fetchNpm } from '../fetch-packages.ts';
import type { GetResult } from '../glyphs/index.ts';
import { recordFiles } from '../recordio.ts';
import { readSidecar } from '../sidecar.ts';
import { buildIcons } from './build.ts';
import { openIconSet } from './icon-set.ts';
import type { IconSetName } from './names.ts';
import { iconSources } from './sets.ts';

export { iconSources } from './sets.ts';

const SCOPE = '@iconify-json';

export type IconSetOptions = {
  /** The folder for all data sets: the set goes to `<folder>/<name>/`, its packages to `<folder>/<name>/drawings`. */
  readonly folder: string;
  /** Pixels of an image's side. */
  readonly side?: number;
  readonly force?: boolean;
};

/** Fetches the packages of a set and draws it, unless it is there. */
export async function getIcons(
  name: IconSetName,
  { folder, side = 32, force = false }: IconSetOptions,
): Promise<GetResult> {
  if (!(Number.isInteger(side) && side >= 8 && side <= 512))
    throw new UserError(`side ${side}: wanted a whole number of pixels from 8 to 512`);
  const { packages, things, drawings, distinct, note, pinned } = iconSources[name];
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
  const sets = packages.map(([set, , family]) =>
    openIconSet(set, family, join(cache, 'node_modules', SCOPE, set, 'icons.json')),
  );
  const made = await buildIcons(sets, things(sets, drawings), {
    side,
    prefix,
    note,
    force: force || !isWhole, // a set of another origin stays
    drawings,
    distinct,
  });
  return { prefix, made, imageDigest: made.imageDigest, expected };
}
