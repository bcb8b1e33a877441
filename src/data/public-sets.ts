import { emojiSetNames } from './emoji/names.ts';
import { glyphSetNames } from './glyphs/names.ts';

/** Data sets that can be fetched. */
export const publicSetNames = [...glyphSetNames, ...emojiSetNames] as const;
export type PublicSetName = (typeof publicSetNames)[number];
