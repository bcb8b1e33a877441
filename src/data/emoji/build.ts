import { createHash } from 'node:crypto';
import { FileError, messageOf } from '../../base/errors.ts';
import { progress } from '../../base/progress.ts';
import { encodePpm } from '../decode.ts';
import type { GlyphSet } from '../glyphs/build.ts';
import { writeRecordSets } from '../record-output.ts';
import { packImage, type RecordWriter } from '../recordio.ts';
import { type EmojiClass, emojiClasses } from './emoji-classes.ts';
import type { IconSet } from './icon-set.ts';

type Build = {
  readonly side: number;
  readonly prefix: string;
  readonly note: string;
  readonly force: boolean;
  /** Sets that must draw a thing for it to be a class. */
  readonly drawings: number;
};

type Drawing = { readonly thing: EmojiClass; readonly set: number; readonly pixels: Uint8Array; readonly hash: string };

/**
 * Draws every emoji of every set on white into a record set sorted by emoji. Skips, within one set, every picture that two emoji
 * share, and then every emoji that fewer than `drawings` sets draw.
 */
export async function buildEmoji(
  sets: readonly IconSet[],
  { side, prefix, note, force, drawings }: Build,
): Promise<GlyphSet> {
  const bar = progress('draw sets of emoji', sets.length);
  const things = emojiClasses(sets, { drawings });
  const all: Drawing[] = [];
  for (const [i, set] of sets.entries()) {
    all.push(...(await drawSet(set, i, things, side)));
    bar.update(i + 1, set.name);
  }
  bar.stop();
  const byThing = groupBy(all, ({ thing }) => thing);
  const classes = things.filter((thing) => (byThing.get(thing)?.length ?? 0) >= drawings);
  const families = [...new Set(sets.map(({ family }) => family))];
  const hash = createHash('sha256');
  const images = classes.reduce((sum, thing) => sum + byThing.get(thing)!.length, 0);
  const digest = (): string => hash.copy().digest('hex').slice(0, 16);
  const fill = (writer: RecordWriter): void => {
    let id = 1;
    for (const [label, thing] of classes.entries())
      for (const { set, pixels } of byThing.get(thing)!) {
        hash.update(`${label}/${set}/`).update(pixels);
        const labels = [label, families.indexOf(sets[set]!.family)];
        writer.write(id, packImage({ labels, id, image: encodePpm(pixels, side, side) }));
        id++;
      }
  };
  const about = () => ({
    sidecar: { classes: classes.map(({ name }) => name), families, note, imageDigest: digest() },
    ids: classes.flatMap((thing) =>
      byThing.get(thing)!.map(({ set }) => `${sets[set]!.name}/${thing.drawings.get(set)}`),
    ),
  });
  await writeRecordSets([{ prefix, images, classes: classes.length, fill, about }], { force });
  return { images, classes: classes.length, families: families.length, imageDigest: digest() };
}

/** One set's drawings, without those that look alike. */
async function drawSet(set: IconSet, at: number, things: readonly EmojiClass[], side: number): Promise<Drawing[]> {
  const { default: sharp } = await import('sharp');
  const drawn: Drawing[] = [];
  for (const thing of things) {
    const name = thing.drawings.get(at);
    if (name === undefined) continue;
    const svg = set.svg(name, side)!;
    try {
      const pixels = await sharp(Buffer.from(svg), { unlimited: true })
        .flatten({ background: 'white' })
        .toColourspace('srgb')
        .raw()
        .toBuffer();
      if (pixels.length !== 3 * side * side) throw new Error(`has ${pixels.length} bytes, wanted ${3 * side * side}`);
      drawn.push({ thing, set: at, pixels, hash: createHash('sha256').update(pixels).digest('base64') });
    } catch (error) {
      throw new FileError(set.name, `${name} cannot be drawn: ${messageOf(error)}`, 'fetch the data set again');
    }
  }
  const alike = groupBy(drawn, ({ hash }) => hash);
  return drawn.filter(({ hash }) => alike.get(hash)!.length === 1);
}

function groupBy<T, K>(items: readonly T[], of: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(of(item));
    if (group) group.push(item);
    else groups.set(of(item), [item]);
  }
  return groups;
}
