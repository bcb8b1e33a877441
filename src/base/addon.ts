import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { messageOf, UserError } from './errors.ts';
import { packageRoot } from './version.ts';

const places = createRequire(import.meta.url)(join(packageRoot, 'scripts/setup/places.cjs')) as {
  readonly build: string;
  readonly home: () => string;
  readonly setupCommand: string;
};

/** What builds the addons: of a checkout, or of the installed package. */
export const { setupCommand } = places;
export const BUILD_HINT = `build it: ${setupCommand}${setupCommand.startsWith('npm') ? ` (in ${packageRoot})` : ''}`;

/** Where set-up puts the addons and what it found. */
export const buildFolder = places.build;

/** The user's folder for what mixbct keeps for a while: MIXBCT_HOME, or in the cache folder. */
export const cacheFolder = places.home;

/** Loads an addon of native/. @throws UserError that tells how to build it if it is missing or does not load here. */
export function loadAddon<T>(name: 'torch' | 'image'): T {
  const path = join(buildFolder, `${name}.node`);
  const hint = BUILD_HINT;
  if (!existsSync(path)) throw new UserError(`${path}: the ${name} addon is not built`, { hint });
  try {
    return createRequire(import.meta.url)(path);
  } catch (error) {
    throw new UserError(`${path}: the ${name} addon does not load (${messageOf(error)})`, { hint, cause: error });
  }
}
