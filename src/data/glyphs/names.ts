/** Glyph-identity data sets that can be fetched. */
export const glyphSetNames = ['k12', 'k55'] as const;
export type GlyphSetName = (typeof glyphSetNames)[number];
