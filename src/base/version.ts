import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** The root of this package. */
export const packageRoot = resolve(import.meta.dirname, '../../..');

/** The version of mixbct, as artefacts record it. */
export const version: string = JSON.parse(readFileSync(resolve(packageRoot, 'package.json'), 'utf8')).version;
