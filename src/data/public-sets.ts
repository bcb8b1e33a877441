import { glyphSetNames } from './glyphs/names.ts';
import { iconSetNames } from './icons/names.ts';

/** Data sets that can be fetched. */
export const publicSetNames = [...glyphSetNames, ...iconSetNames] as const;
export type PublicSetName = (typeof publicSetNames)[number];
