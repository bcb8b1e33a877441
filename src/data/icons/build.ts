import { FileError, messageOf } from '../../base/errors.ts';
import { encodePpm } from '../decode.ts';
import { buildDrawings, type GlyphSet } from '../drawings.ts';
import type { IconSet } from './icon-set.ts';
import type { Thing } from './things.ts';

type Build = {
  readonly side: number;
  readonly prefix: string;
  readonly note: string;
  readonly force: boolean;
  /** Sets whose drawings of a thing must remain for it to be a class. */
  readonly drawings: number;
  /** Skip every picture that two sets share, too. */
  readonly distinct: boolean;
};

/**
 * Draws every thing by every set that has it on white into a record set sorted by thing. Skips, within one set, every picture that
 * two things share, and then every thing that fewer than `drawings` sets draw.
 */
export async function buildIcons(
  sets: readonly IconSet[],
  things: readonly Thing[],
  { side, ...build }: Build,
): Promise<GlyphSet> {
  const { default: sharp } = await import('sharp');
  const drawIcon = async (set: IconSet, name: string): Promise<Uint8Array> => {
    const svg = set.svg(name, side)!;
    try {
      const pixels = await sharp(Buffer.from(svg), { unlimited: true })
        .flatten({ background: 'white' })
        .toColourspace('srgb')
        .raw()
        .toBuffer();
      if (pixels.length !== 3 * side * side) throw new Error(`has ${pixels.length} bytes, wanted ${3 * side * side}`);
      return pixels;
    } catch (error) {
      throw new FileError(set.name, `${name} cannot be drawn: ${messageOf(error)}`, 'fetch the data set again');
    }
  };
  return await buildDrawings(sets, {
    ...build,
    title: 'draw sets of icons',
    bytes: 3 * side * side,
    draw: async (set, add, i) => {
      for (const [at, { drawings }] of things.entries()) {
        const name = drawings.get(i);
        if (name !== undefined) add(at, await drawIcon(set, name));
      }
    },
    things: things.map(({ name }) => name),
    encode: (pixels) => encodePpm(pixels, side, side),
    id: (thing, i) => `${sets[i]!.name}/${things[thing]!.drawings.get(i)}`,
  });
}
