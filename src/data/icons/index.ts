import { join } from 'node:path';
import { fetchNpm } from '../fetch-packages.ts';
import { type GetResult, getSet } from '../get-set.ts';
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
  const { packages, things, drawings, distinct, note, pinned } = iconSources[name];
  const prefix = join(folder, name, `${name}_${side}`);
  const cache = join(folder, name, 'drawings');
  return await getSet({ prefix, side, pinned: pinned[side], force }, async (mayReplace) => {
    await fetchNpm(
      packages.map(([set, version]) => `${SCOPE}/${set}@${version}`),
      cache,
    );
    const sets = packages.map(([set, , family]) =>
      openIconSet(set, family, join(cache, 'node_modules', SCOPE, set, 'icons.json')),
    );
    return await buildIcons(sets, things(sets, drawings), {
      side,
      prefix,
      note,
      force: mayReplace,
      drawings,
      distinct,
    });
  });
}
