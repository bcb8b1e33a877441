import { optionHint, UserError } from '../base/errors.ts';

/** One of several processes that embed a list, each its part of the images. */
export type Shard = { readonly shard: number; readonly shards: number };

/** Reads `i/n`, with i from 1 to n. @throws UserError if the text is not of this form. */
export function parseShard(text: string): Shard {
  const [, shard, shards] = (/^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []).map(Number);
  if (shard && shards && shard <= shards) return { shard, shards };
  throw new UserError(`shard ${text.slice(0, 40)}: wanted i/n, where i counts from 1 to n`, {
    hint: optionHint('--shard 1/16'),
  });
}
