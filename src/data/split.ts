import { basename, dirname, join } from 'node:path';
import { UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { type Dataset, idsOf } from './dataset.ts';
import { type Draw, lineageOf, originOfPart } from './lineage.ts';
import { bytesOf, type RecordSetContent, writeRecordSets } from './record-output.ts';
import { packImage } from './recordio.ts';
import type { Sidecar } from './sidecar.ts';

/** One image of a new record set: which image of the dataset, under which label. */
type Entry = { readonly index: number; readonly label: number };

type Part = {
  readonly prefix: string;
  readonly entries: readonly Entry[];
  readonly classes: number;
  readonly sidecar: Sidecar;
};

/** What was written where. */
export type Written = { readonly prefix: string; readonly images: number; readonly classes: number };

export type SplitOptions = {
  /** By class: the first share of the classes. By data: the first share of each class's images. */
  readonly by: 'class' | 'data';
  /** Share of the first part, in (0, 1). */
  readonly ratio: number;
  /** Folder for the parts; absent: beside the dataset. */
  readonly out?: string;
  readonly force?: boolean;
};

/**
 * Splits a record set sorted by class in two, `<base>_part_30_class` and `<base>_part_70_class` (or `_data`), by position
 * alone, with the counting, relabelling and header rules of methods.md 1.3. Where the reference only warns of unsorted
 * labels, and reads the image count from a literal, this validates and reads the header.
 */
export async function split(dataset: Dataset, { by, ratio, out, force = false }: SplitOptions): Promise<Written[]> {
  if (!(ratio > 0 && ratio < 1))
    throw new UserError(`--ratio ${ratio}: wanted a share between 0 and 1, for example 0.3`);
  const labels = dataset.labels();
  requireSorted(dataset, labels);
  const percent = Math.round(ratio * 100);
  const base = join(out ?? dirname(dataset.path), basename(dataset.path));
  const named = (share: number): string => `${base}_part_${share}_${by}`;
  const parts = by === 'class' ? byClass(dataset, labels, ratio) : byData(dataset, labels, ratio);
  return writeParts(
    dataset,
    [
      { prefix: named(percent), ...parts[0] },
      { prefix: named(100 - percent), ...parts[1] },
    ],
    force,
  );
}

type Content = Omit<Part, 'prefix'>;

function byClass(dataset: Dataset, labels: Int32Array, ratio: number): [Content, Content] {
  const { classes } = dataset;
  const boundary = roundHalfEven(classes * ratio);
  if (boundary === 0 || boundary === classes)
    throw new UserError(`a share of ${ratio} of ${classes} classes leaves one part empty`);
  const firstImage = labels.findIndex((label) => label >= boundary);
  const images = firstImage < 0 ? labels.length : firstImage;
  const entries = Array.from(labels, (label, index) => ({ index, label: label < boundary ? label : label - boundary }));
  const ids = Array.from({ length: classes }, (_, i) => i);
  return [
    { entries: entries.slice(0, images), ...withClasses(dataset, ids.slice(0, boundary)) },
    { entries: entries.slice(images), ...withClasses(dataset, ids.slice(boundary)) },
  ];
}

/** The description of a part that has some classes of a dataset, in this order. */
function withClasses(dataset: Dataset, chosen: readonly number[]): Pick<Part, 'classes' | 'sidecar'> {
  const { sidecar } = dataset;
  return {
    classes: chosen.length,
    sidecar: {
      ...sidecar,
      ...(sidecar.classes && { classes: chosen.map((id) => sidecar.classes![id]!) }),
      origin: originOfPart(lineageOf(dataset), { chosen }),
    },
  };
}

/** The description of a part that has some images of all classes. */
const withDraw = (dataset: Dataset, draw: Draw): Pick<Part, 'classes' | 'sidecar'> => ({
  classes: dataset.classes,
  sidecar: { ...dataset.sidecar, origin: originOfPart(lineageOf(dataset), { draw }) },
});

function byData(dataset: Dataset, labels: Int32Array, ratio: number): [Content, Content] {
  const parts: [Entry[], Entry[]] = [[], []];
  let shared = 0;
  for (let from = 0; from < labels.length; ) {
    const label = labels[from]!;
    let to = from;
    while (to < labels.length && labels[to] === label) to++;
    const first = firstShare(to - from, ratio);
    if (to - from === 1) shared++;
    for (let index = from; index < to; index++) {
      if (to - from === 1 || index < from + first) parts[0].push({ index, label });
      if (to - from === 1 || index >= from + first) parts[1].push({ index, label });
    }
    from = to;
  }
  const draw = { of: dataset.digest, ratio, shared };
  return [
    { entries: parts[0], ...withDraw(dataset, { ...draw, part: 'first' }) },
    { entries: parts[1], ...withDraw(dataset, { ...draw, part: 'second' }) },
  ];
}

/** How many of a class's n images the first part gets: at least one; a single image goes to both parts. */
export const firstShare = (n: number, ratio: number): number => Math.max(1, roundHalfEven(ratio * n));

/** To the nearest whole number, halves to the even one, as Python's `round` does. */
export function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

function requireSorted(dataset: Dataset, labels: Int32Array): void {
  for (let i = 1; i < labels.length; i++)
    if (labels[i]! < labels[i - 1]!)
      throw new UserError(
        `${dataset.name(i)}: class ${labels[i]} follows class ${labels[i - 1]}, but a split by position needs images sorted by class`,
        {
          hint: 'sort it with: mixbct data import',
        },
      );
}

export type HoldOutOptions = {
  /** Classes to keep away from all training. */
  readonly classes: number;
  readonly seed: number;
  readonly out?: string;
  readonly force?: boolean;
};

/**
 * Draws classes that no training may see: writes them as `<base>_eval`, and all others as `<base>_train` in an order of
 * classes drawn too, so that a split of it by class is a random one.
 */
export async function holdOut(
  dataset: Dataset,
  { classes, seed, out, force = false }: HoldOutOptions,
): Promise<Written[]> {
  if (!(Number.isInteger(classes) && classes > 0 && classes < dataset.classes))
    throw new UserError(`--hold-out ${classes}: wanted a whole number of classes below ${dataset.classes}`);
  const all = Array.from({ length: dataset.classes }, (_, i) => i);
  const drawn = new Rng(seed).split('hold out').sample(all, all.length);
  const byLabel: number[][] = all.map(() => []);
  for (const [index, label] of dataset.labels().entries()) byLabel[label]!.push(index);
  const part = (name: string, chosen: readonly number[]): Part => ({
    prefix: join(out ?? dirname(dataset.path), `${basename(dataset.path)}_${name}`),
    entries: chosen.flatMap((old, label) => byLabel[old]!.map((index) => ({ index, label }))),
    ...withClasses(dataset, chosen),
  });
  return writeParts(dataset, [part('eval', drawn.slice(0, classes)), part('train', drawn.slice(classes))], force);
}

export type SampleOptions = {
  /** Images to keep of each class; a class with fewer keeps all. */
  readonly perClass: number;
  readonly seed: number;
  readonly out?: string;
  readonly force?: boolean;
};

/** Draws some images of each class and writes them, in the order they had, as `<base>_sample_<perClass>`. */
export async function sampleImages(
  dataset: Dataset,
  { perClass, seed, out, force = false }: SampleOptions,
): Promise<Written> {
  if (!(Number.isInteger(perClass) && perClass > 0))
    throw new UserError(`--per-class ${perClass}: wanted a whole number of images, at least 1`);
  const labels = dataset.labels();
  const byLabel: number[][] = Array.from({ length: dataset.classes }, () => []);
  for (const [index, label] of labels.entries()) byLabel[label]!.push(index);
  const rng = new Rng(seed).split('sample');
  const entries = byLabel
    .flatMap((indices, label) => rng.split(label).sample(indices, perClass))
    .sort((a, b) => a - b)
    .map((index) => ({ index, label: labels[index]! }));
  const prefix = join(out ?? dirname(dataset.path), `${basename(dataset.path)}_sample_${perClass}`);
  const draw = { of: dataset.digest, perClass, seed };
  const [written] = await writeParts(dataset, [{ prefix, entries, ...withDraw(dataset, draw) }], force);
  return written!;
}

async function writeParts(dataset: Dataset, parts: readonly Part[], force: boolean): Promise<Written[]> {
  const each = bytesOf(dataset) / dataset.size;
  const sets = parts.map((part) => ({ ...recordSetOf(dataset, part), bytes: each * part.entries.length }));
  await writeRecordSets(sets, { force, inputs: [dataset.path] });
  return parts.map(({ prefix, entries, classes }) => ({ prefix, images: entries.length, classes }));
}

/** A record set of images of `dataset`: header [n+1, C], keys and ids from 1 on. */
function recordSetOf(dataset: Dataset, { prefix, entries, classes, sidecar }: Part): RecordSetContent {
  const { imageDigest: _, ...kept } = sidecar;
  return {
    prefix,
    fill: (writer) => {
      writer.write(0, packImage({ labels: [entries.length + 1, classes], id: 0, image: new Uint8Array() }));
      for (const [i, { index, label }] of entries.entries()) {
        const { labels, image } = dataset.record(index);
        writer.write(i + 1, packImage({ labels: [label, ...labels.slice(1)], id: i + 1, image }));
      }
    },
    about: () => ({
      sidecar: kept,
      ids: idsOf(
        dataset,
        entries.map(({ index }) => index),
      ),
    }),
  };
}
