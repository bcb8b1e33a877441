import { basename, dirname, join, resolve } from 'node:path';
import { optionHint, UserError } from '../base/errors.ts';
import { groupPositions } from '../base/group-positions.ts';
import { progressIfLong } from '../base/progress.ts';
import { Rng } from '../base/rng.ts';
import { type Dataset, idsOf } from './dataset.ts';
import { type Draw, lineageOf, originOfPart } from './lineage.ts';
import { datasetBytes, type RecordSetContent, writeRecordSets } from './record-output.ts';
import { packImage } from './recordio.ts';
import type { Sidecar } from './sidecar.ts';

/** Images of a new record set: their positions in the dataset, and the label of each in the new set. [n] each */
type Part = {
  readonly prefix: string;
  readonly positions: Int32Array;
  readonly labels: Int32Array;
  readonly classes: number;
  readonly sidecar: Sidecar;
};

/** A part that was written. */
export type WrittenPart = { readonly prefix: string; readonly images: number; readonly classes: number };

type PartOptions = {
  /** Folder for the parts; absent: beside the dataset. */
  readonly out?: string;
  readonly force?: boolean;
};

export type SplitOptions = PartOptions & {
  /** By class: the first share of the classes. By data: the first share of each class's images. */
  readonly by: 'class' | 'data';
  /** Share of the first part, in (0, 1). */
  readonly ratio: number;
};

/**
 * Splits a record set sorted by class in two, `<base>_part_30_class` and `<base>_part_70_class` (or `_data`), by position
 * alone (for the names see `partNames`), with the counting, relabelling and header rules of methods.md 1.3. Where the reference only warns of unsorted
 * labels, and reads the image count from a literal, this validates and reads the header.
 */
export async function split(dataset: Dataset, { by, ratio, out, force = false }: SplitOptions): Promise<WrittenPart[]> {
  if (!(ratio > 0 && ratio < 1)) throw new UserError(`ratio ${ratio}: wanted a share between 0 and 1, for example 0.3`);
  const labels = dataset.labels();
  requireSorted(dataset, labels);
  const base = join(out ?? dirname(dataset.path), basename(resolve(dataset.path)));
  const [first, second] = partNames(ratio);
  const parts = by === 'class' ? byClass(dataset, labels, ratio) : byData(dataset, labels, ratio);
  const named = [first, second].map((name, i) => ({ prefix: `${base}_${name}_${by}`, ...parts[i]! }));
  return writeParts(dataset, named, force);
}

/**
 * What the two parts are called: their percentages in full, `part_30` and `part_70` for 0.3, `part_30.1` and `part_69.9` for
 * 0.301. From one half on the names say which part is which, so that the parts of 0.3 and 0.7 have four names.
 */
export function partNames(ratio: number): readonly [first: string, second: string] {
  const [digits, exponent = '0'] = String(ratio).split('e') as [string, string?];
  const [whole, fraction = ''] = digits.split('.') as [string, string?];
  const decimals = Math.max(2, fraction.length - Number(exponent));
  const share = BigInt(whole + fraction) * 10n ** BigInt(decimals + Number(exponent) - fraction.length);
  const onePercent = 10n ** BigInt(decimals - 2);
  const percent = (value: bigint): string => {
    const rest = String(value % onePercent).padStart(decimals - 2, '0').replace(/0+$/, ''); // biome-ignore format: short
    return `${value / onePercent}${rest && `.${rest}`}`;
  };
  const names = [percent(share), percent(10n ** BigInt(decimals) - share)] as const;
  return ratio < 0.5 ? [`part_${names[0]}`, `part_${names[1]}`] : [`part_${names[0]}_first`, `part_${names[1]}_last`];
}

type Content = Omit<Part, 'prefix'>;

function byClass(dataset: Dataset, labels: Int32Array, ratio: number): [Content, Content] {
  const { classes } = dataset;
  const boundary = roundHalfEven(classes * ratio);
  if (boundary === 0 || boundary === classes)
    throw new UserError(`a share of ${ratio} of ${classes} classes leaves one part empty`);
  const firstImage = labels.findIndex((label) => label >= boundary);
  const images = firstImage < 0 ? labels.length : firstImage;
  const positions = Int32Array.from(labels.keys());
  const ids = Array.from({ length: classes }, (_, i) => i);
  return [
    {
      positions: positions.subarray(0, images),
      labels: labels.subarray(0, images),
      ...withClasses(dataset, ids.slice(0, boundary)),
    },
    {
      positions: positions.subarray(images),
      labels: labels.subarray(images).map((label) => label - boundary),
      ...withClasses(dataset, ids.slice(boundary)),
    },
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
  const parts: [number[], number[]] = [[], []];
  let shared = 0;
  for (let from = 0; from < labels.length; ) {
    const label = labels[from]!;
    let to = from;
    while (to < labels.length && labels[to] === label) to++;
    const first = firstShare(to - from, ratio);
    if (to - from === 1) shared++;
    for (let index = from; index < to; index++) {
      if (to - from === 1 || index < from + first) parts[0].push(index);
      if (to - from === 1 || index >= from + first) parts[1].push(index);
    }
    from = to;
  }
  const content = (part: 'first' | 'second', chosen: readonly number[]): Content => {
    const positions = Int32Array.from(chosen);
    const draw = { of: dataset.digest, ratio, shared, part };
    return { positions, labels: positions.map((index) => labels[index]!), ...withDraw(dataset, draw) };
  };
  if (parts.some((part) => part.length === 0))
    throw new UserError(`a share of ${ratio} of each class leaves one part without images`, {
      hint: [optionHint('choose a --ratio nearer to 0.5'), 'split by class'],
    });
  return [content('first', parts[0]), content('second', parts[1])];
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
        { hint: 'sort it with: mixbct data import' },
      );
}

export type HoldOutOptions = PartOptions & {
  /** Classes to keep away from all training. */
  readonly classes: number;
  readonly seed: number;
};

/**
 * Draws classes that no training may see. Writes them as `<base>_eval`, and all others as `<base>_train` in a random order
 * of classes, so that a split of `<base>_train` by class is random.
 */
export async function holdOut(
  dataset: Dataset,
  { classes, seed, out, force = false }: HoldOutOptions,
): Promise<WrittenPart[]> {
  if (!(Number.isInteger(classes) && classes > 0 && classes < dataset.classes))
    throw new UserError(`hold-out ${classes}: wanted a whole number of classes below ${dataset.classes}`);
  const all = Array.from({ length: dataset.classes }, (_, i) => i);
  const drawn = new Rng(seed).split('hold out').sample(all, all.length);
  const labels = dataset.labels();
  const byLabel = positionsByLabel(labels, dataset.classes);
  const part = (name: string, chosen: readonly number[]): Part => {
    const positions = Int32Array.from(chosen.flatMap((old) => byLabel(old)));
    const renumbered = new Map(chosen.map((old, label) => [old, label]));
    return {
      prefix: join(out ?? dirname(dataset.path), `${basename(resolve(dataset.path))}_${name}`),
      positions,
      labels: positions.map((index) => renumbered.get(labels[index]!)!),
      ...withClasses(dataset, chosen),
    };
  };
  return writeParts(dataset, [part('eval', drawn.slice(0, classes)), part('train', drawn.slice(classes))], force);
}

/** → the positions of a class's images, ascending */
function positionsByLabel(labels: Int32Array, classes: number): (label: number) => number[] {
  const { order, starts } = groupPositions(labels.length, classes, (index) => labels[index]!);
  return (label) => Array.from(order.subarray(starts[label], starts[label + 1]));
}

export type SampleOptions = PartOptions & {
  /** Images to keep of each class; a class with fewer keeps all. */
  readonly perClass: number;
  readonly seed: number;
};

/** Draws some images of each class and writes them, in the order they had, as `<base>_sample_<perClass>`. */
export async function sampleImages(
  dataset: Dataset,
  { perClass, seed, out, force = false }: SampleOptions,
): Promise<WrittenPart> {
  if (!(Number.isInteger(perClass) && perClass > 0))
    throw new UserError(`per-class ${perClass}: wanted a whole number of images, at least 1`);
  const labels = dataset.labels();
  const byLabel = positionsByLabel(labels, dataset.classes);
  const rng = new Rng(seed).split('sample');
  const positions = Int32Array.from(
    Array.from({ length: dataset.classes }, (_, label) => rng.split(label).sample(byLabel(label), perClass)).flat(),
  ).sort();
  const prefix = join(out ?? dirname(dataset.path), `${basename(resolve(dataset.path))}_sample_${perClass}`);
  const draw = withDraw(dataset, { of: dataset.digest, perClass, seed });
  const part = { prefix, positions, labels: positions.map((index) => labels[index]!), ...draw };
  const [written] = await writeParts(dataset, [part], force);
  return written!;
}

/** Writes all parts or none. Keys and ids count from 1 in each. */
async function writeParts(dataset: Dataset, parts: readonly Part[], force: boolean): Promise<WrittenPart[]> {
  const bytesEach = datasetBytes(dataset) / dataset.size;
  const bar = progressIfLong('write', parts.reduce((sum, { positions }) => sum + positions.length, 0)); // biome-ignore format: short
  let written = 0;
  const sets = parts.map(({ prefix, positions, labels, classes, sidecar }): RecordSetContent => {
    const { imageDigest: _, ...kept } = sidecar;
    return {
      prefix,
      images: positions.length,
      classes,
      about: () => ({ sidecar: kept, ids: idsOf(dataset, positions) }),
      bytes: bytesEach * positions.length,
      fill: (writer) => {
        for (const [i, index] of positions.entries()) {
          const { labels: stored, image } = dataset.record(index);
          writer.write(i + 1, packImage({ labels: [labels[i]!, ...stored.slice(1)], id: i + 1, image }));
          bar.update(++written);
        }
      },
    };
  });
  await writeRecordSets(sets, { force, inputs: [dataset.path] });
  bar.stop();
  return sets.map(({ prefix, images, classes }) => ({ prefix, images, classes }));
}
