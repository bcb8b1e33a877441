/** Data sets of emoji that can be fetched. */
export const emojiSetNames = ['e10'] as const;
export type EmojiSetName = (typeof emojiSetNames)[number];
