import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { toDiskFullError, writeAll } from '../artifacts/durable-write.ts';
import { lockOutput } from '../artifacts/output-lock.ts';
import { progress } from '../base/progress.ts';
import { readFully } from '../base/regular-file.ts';
import { writeRecordSets } from './record-output.ts';
import { packImage, type RecordWriter } from './recordio.ts';

/** What was written. */
export type GlyphSet = {
  readonly images: number;
  readonly classes: number;
  readonly families: number;
  readonly imageDigest: string;
};

/** A typeface, or a designer's set of icons. Those of one family are relatives. */
type Source = { readonly name: string; readonly family: string };

type Build<S extends Source> = {
  readonly prefix: string;
  readonly force: boolean;
  readonly note: string;
  /** What the progress is called. */
  readonly title: string;
  /** Bytes of a picture. */
  readonly bytes: number;
  /** Hands the pictures of a source to `add`, each with the number of what it shows, from 0. */
  readonly draw: (source: S, add: DrawingFile['add'], i: number) => Promise<void> | void;
  /** Names of what is drawn, by number. */
  readonly things: readonly string[];
  /** Sources that must draw a thing for it to be a class. */
  readonly drawings: number;
  /** Skip every picture that several sources have, too. */
  readonly distinct?: boolean;
  readonly encode: (pixels: Uint8Array) => Uint8Array;
  /** What the picture of a thing by source `i` is called. */
  readonly id?: (thing: number, i: number) => string;
};

/**
 * Draws every source into a record set sorted by thing. Skips, within one source, every picture that two things share, and then
 * every thing that fewer than `drawings` sources draw. Pictures lie on disk until the set is written.
 */
export async function buildDrawings<S extends Source>(sources: readonly S[], build: Build<S>): Promise<GlyphSet> {
  const { prefix, title, bytes, draw } = build;
  using _ = lockOutput(`${prefix}.drawing`);
  const folder = join(dirname(prefix), `.${basename(prefix)}.drawing.part`);
  rmSync(folder, { recursive: true, force: true }); // of an attempt that was killed
  const drawn: DrawingFile[] = [];
  try {
    mkdirSync(folder);
    const bar = progress(title, sources.length);
    for (const [i, source] of sources.entries()) {
      const file = new DrawingFile(join(folder, `${i}.raw`), bytes);
      drawn.push(file);
      await draw(source, (thing, pixels) => file.add(thing, pixels), i);
      bar.update(i + 1, source.name);
    }
    bar.stop();
    if (build.distinct) removeShared(drawn);
    return await merge(sources, drawn, build);
  } catch (error) {
    throw toDiskFullError(prefix, error);
  } finally {
    for (const file of drawn) file.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The pictures of one source in a file, a slot each, without those that two things share. Memory holds their hashes. */
export class DrawingFile {
  readonly #path: string;
  readonly #fd: number;
  readonly #bytes: number;
  /** The thing that had a picture first, by the picture's hash. */
  readonly #things = new Map<string, number>();
  readonly #slots = new Map<number, number>();

  /** `bytes` of a picture. */
  constructor(path: string, bytes: number) {
    this.#path = path;
    this.#fd = openSync(path, 'w+');
    this.#bytes = bytes;
  }

  /** Writes the picture of a thing, or removes the one that is the same. */
  add(thing: number, pixels: Uint8Array): void {
    const hash = createHash('sha256').update(pixels).digest('base64');
    const other = this.#things.get(hash);
    if (other !== undefined) {
      this.#slots.delete(other);
      return;
    }
    const slot = this.#things.size;
    writeAll(this.#fd, pixels, slot * this.#bytes);
    this.#things.set(hash, thing);
    this.#slots.set(thing, slot);
  }

  /** Hashes of all pictures that were added. */
  hashes(): Iterable<string> {
    return this.#things.keys();
  }

  /** Removes the picture with this hash. */
  remove(hash: string): void {
    const thing = this.#things.get(hash);
    if (thing !== undefined) this.#slots.delete(thing);
  }

  has(thing: number): boolean {
    return this.#slots.has(thing);
  }

  /** The picture of a thing that has one. */
  read(thing: number, into: Uint8Array): Uint8Array {
    return readFully(this.#fd, this.#path, into, this.#slots.get(thing)! * this.#bytes);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Removes every picture that several sources have. */
function removeShared(drawn: readonly DrawingFile[]): void {
  const sources = new Map<string, number>();
  for (const file of drawn) for (const hash of file.hashes()) sources.set(hash, (sources.get(hash) ?? 0) + 1);
  for (const [hash, count] of sources) if (count > 1) for (const file of drawn) file.remove(hash);
}

async function merge<S extends Source>(
  sources: readonly S[],
  drawn: readonly DrawingFile[],
  { prefix, force, note, bytes, things, drawings, encode, id }: Build<S>,
): Promise<GlyphSet> {
  const sourcesOf = (thing: number): number[] => [...drawn.keys()].filter((i) => drawn[i]!.has(thing));
  const classes = [...things.keys()]
    .map((thing) => ({ thing, by: sourcesOf(thing) }))
    .filter(({ by }) => by.length >= drawings);
  const families = [...new Set(sources.map(({ family }) => family))];
  const images = classes.reduce((sum, { by }) => sum + by.length, 0);
  const hash = createHash('sha256');
  const digest = (): string => hash.copy().digest('hex').slice(0, 16);
  const pixels = new Uint8Array(bytes);
  const fill = (writer: RecordWriter): void => {
    let key = 1;
    for (const [label, { thing, by }] of classes.entries())
      for (const i of by) {
        hash.update(`${label}/${i}/`).update(drawn[i]!.read(thing, pixels));
        const labels = [label, families.indexOf(sources[i]!.family)];
        writer.write(key, packImage({ labels, id: key, image: encode(pixels) }));
        key++;
      }
  };
  const about = () => ({
    sidecar: { classes: classes.map(({ thing }) => things[thing]!), families, note, imageDigest: digest() },
    ...(id && { ids: classes.flatMap(({ thing, by }) => by.map((i) => id(thing, i))) }),
  });
  await writeRecordSets([{ prefix, images, classes: classes.length, fill, about }], { force });
  return { images, classes: classes.length, families: families.length, imageDigest: digest() };
}
