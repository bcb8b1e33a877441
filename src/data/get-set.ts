import { existsSync } from 'node:fs';
import { UserError } from '../base/errors.ts';
import type { GlyphSet } from './drawings.ts';
import { recordFiles } from './recordio.ts';
import { readSidecar } from './sidecar.ts';

/** `made` is null if the set was there already. `expected` is the digest of the images as first made, where one is pinned. */
export type GetResult = {
  readonly prefix: string;
  readonly made: GlyphSet | null;
  readonly imageDigest: string;
  readonly expected: string | null;
};

type Wanted = {
  readonly prefix: string;
  /** Pixels of an image's side. */
  readonly side: number;
  readonly pinned: string | undefined;
  readonly force: boolean;
};

/** Has a set drawn, unless it is there. `draw`: told whether it may replace what stands at the prefix; a set of another origin stays. */
export async function getSet(
  { prefix, side, pinned, force }: Wanted,
  draw: (force: boolean) => Promise<GlyphSet>,
): Promise<GetResult> {
  if (!(Number.isInteger(side) && side >= 8 && side <= 512))
    throw new UserError(`side ${side}: wanted a whole number of pixels from 8 to 512`);
  const expected = pinned ?? null;
  const isWhole = existsSync(recordFiles(prefix).idx);
  const there = isWhole ? readSidecar(prefix).imageDigest : undefined;
  if (there && !force) return { prefix, made: null, imageDigest: there, expected };
  const made = await draw(force || !isWhole);
  return { prefix, made, imageDigest: made.imageDigest, expected };
}
