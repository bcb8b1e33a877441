import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isAbsolute, join, normalize, resolve } from 'node:path';

/** The root of this package. */
export const packageRoot = resolve(import.meta.dirname, '../../..');

/** Folders of the package whose files are given by their path in it, from wherever a command runs. */
const SHIPPED = /^(?:experiments|recipes)\//;

/** `path` if it is there, else the file of that name in the package, if it is one of experiments/ or recipes/. */
export function resolveOwnOrPackaged(path: string): string {
  if (isAbsolute(path) || existsSync(path) || !SHIPPED.test(normalize(path))) return path;
  const shipped = join(packageRoot, path);
  return existsSync(shipped) ? shipped : path;
}

/** The YAML files that come with mixbct in one of its folders, as commands take them. */
export const shippedFiles = (folder: 'experiments' | 'recipes'): readonly string[] =>
  readdirSync(join(packageRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => `${folder}/${name}`)
    .sort();

/** The version of mixbct, as artefacts record it. */
export const version: string = JSON.parse(readFileSync(resolve(packageRoot, 'package.json'), 'utf8')).version;
