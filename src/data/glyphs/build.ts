import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { toDiskFullError, writeAll } from '../../artifacts/durable-write.ts';
import { lockOutput } from '../../artifacts/output-lock.ts';
import { progress } from '../../base/progress.ts';
import { encodePgm } from '../decode.ts';
import { writeRecordSets } from '../record-output.ts';
import { packImage, type RecordWriter } from '../recordio.ts';
import type { Sidecar } from '../sidecar.ts';
import type { Face } from './faces.ts';

export type GlyphSet = {
  readonly images: number;
  readonly classes: number;
  readonly families: number;
  readonly imageDigest: string;
};

type Build = { readonly side: number; readonly prefix: string; readonly force: boolean; readonly about: Sidecar };

/** A face's images on disk, and in which slot the image of each character lies (-1: it has none). */
type Drawn = { readonly file: string; readonly slots: Int32Array };

/**
 * Draws every character with every face into a record set sorted by character; a character that no face has is no class. Skips
 * blanks and, within one face, every picture that two characters share: a face uses such pictures for what it lacks.
 */
export async function buildGlyphs(
  faces: readonly Face[],
  codePoints: readonly number[],
  { side, prefix, note, force }: Omit<Build, 'about'> & { readonly note: string },
): Promise<GlyphSet> {
  using _ = lockOutput(`${prefix}.drawing`);
  const folder = join(dirname(prefix), `.${basename(prefix)}.drawing.part`);
  rmSync(folder, { recursive: true, force: true }); // of an attempt that was killed
  try {
    mkdirSync(folder);
    const bar = progress('draw typefaces', faces.length);
    const drawn = faces.map((face, i) => {
      const result = drawFace(face, codePoints, side, join(folder, `${i}.raw`));
      bar.update(i + 1, face.name);
      return result;
    });
    bar.stop();
    const classes = [...codePoints.keys()].filter((i) => drawn.some(({ slots }) => slots[i]! >= 0));
    const families = [...new Set(faces.map(({ family }) => family))];
    const set = await merge(
      drawn,
      classes,
      faces.map(({ family }) => families.indexOf(family)),
      {
        side,
        prefix,
        force,
        about: { classes: classes.map((i) => String.fromCodePoint(codePoints[i]!)), families, note },
      },
    );
    return { ...set, families: families.length };
  } catch (error) {
    throw toDiskFullError(prefix, error);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function drawFace(face: Face, codePoints: readonly number[], side: number, file: string): Drawn {
  const drawGlyph = face.open();
  const pictures = new Map<string, { readonly pixels: Uint8Array; readonly at: number } | null>();
  for (const [at, code] of codePoints.entries()) {
    const pixels = drawGlyph(code, side);
    if (!pixels || pixels.every((p) => p === 0)) continue;
    const key = createHash('sha256').update(pixels).digest('base64');
    pictures.set(key, pictures.has(key) ? null : { pixels, at });
  }
  const slots = new Int32Array(codePoints.length).fill(-1);
  const fd = openSync(file, 'w');
  let slot = 0;
  for (const picture of pictures.values()) {
    if (!picture) continue;
    slots[picture.at] = slot++;
    writeAll(fd, picture.pixels);
  }
  closeSync(fd);
  return { file, slots };
}

async function merge(
  drawn: readonly Drawn[],
  classes: readonly number[],
  familyOf: readonly number[],
  { side, prefix, force, about }: Build,
) {
  const images = classes.reduce((sum, i) => sum + drawn.filter(({ slots }) => slots[i]! >= 0).length, 0);
  const files = drawn.map(({ file }) => openSync(file, 'r'));
  const hash = createHash('sha256');
  const pixels = new Uint8Array(side * side);
  let key = 1;
  try {
    const fill = (writer: RecordWriter): void => {
      for (const [label, i] of classes.entries())
        for (const [face, { slots }] of drawn.entries()) {
          if (slots[i]! < 0) continue;
          readSync(files[face]!, pixels, 0, pixels.length, slots[i]! * pixels.length);
          hash.update(`${label}/${face}/`).update(pixels);
          writer.write(
            key,
            packImage({ labels: [label, familyOf[face]!], id: key, image: encodePgm(pixels, side, side) }),
          );
          key++;
        }
    };
    const digest = (): string => hash.copy().digest('hex').slice(0, 16);
    const set = {
      prefix,
      images,
      classes: classes.length,
      fill,
      about: () => ({ sidecar: { ...about, imageDigest: digest() } }),
    };
    await writeRecordSets([set], { force });
    return { images, classes: classes.length, imageDigest: digest() };
  } finally {
    for (const fd of files) closeSync(fd);
  }
}
