import { FileError, optionHint, UserError } from '../base/errors.ts';
import { formatCount, logLine, progress } from '../base/progress.ts';
import { type Dataset, idsOf, repairAdvice } from './dataset.ts';
import { describeEmptyClasses } from './dataset-info.ts';
import { checkImages } from './decode-check.ts';
import { lineageOf, originOfPart } from './lineage.ts';
import { datasetBytes, isStaged, outputPrefix, requireReplaceableSet, writeRecordSets } from './record-output.ts';
import { packImage, type RecordWriter } from './recordio.ts';
import type { Sidecar } from './sidecar.ts';
import type { SkippedFiles } from './skipped-files.ts';
import type { WrittenPart } from './split.ts';

export type ImportOptions = {
  readonly force?: boolean;
  /** Decode every image first, so that unreadable images are listed by name. */
  readonly check?: boolean;
  /** Skip and list unreadable images instead of stopping. */
  readonly skipBadImages?: boolean;
};

/** An image that the import skipped. */
export type SkippedImage = { readonly id: string; readonly problem: string };

export type ImportResult = WrittenPart & {
  readonly skippedImages: readonly SkippedImage[];
  /** Names of classes that only had unreadable images: the new set does not have them. */
  readonly skippedClasses: readonly string[];
  readonly skippedFiles?: SkippedFiles;
};

/**
 * Writes a dataset (an image folder, or a record set in any order) as a record set sorted by class, with its header
 * record, its description and its ids beside it. The encoded bytes are copied.
 * @throws UserError that lists unreadable images, unless `skipBadImages`
 */
export async function importDataset(
  dataset: Dataset,
  out: string,
  { force = false, check = true, skipBadImages = false }: ImportOptions = {},
): Promise<ImportResult> {
  const empty = describeEmptyClasses(dataset);
  if (empty) logLine(`${dataset.path}: ${empty}`);
  if (skipBadImages && !check)
    throw new UserError('unreadable images are found by decoding them', {
      hint: [optionHint('pass --skip-bad-images without --no-check')],
    });
  const prefix = outputPrefix(out);
  const replacing = { force, inputs: [dataset.path] };
  if (!isStaged(prefix)) requireReplaceableSet(prefix, replacing); // before all images are decoded
  const unreadable = check ? await unreadableImages(dataset) : new Map<number, string>();
  if (unreadable.size > 0 && !skipBadImages) throw unreadableError(dataset, unreadable);
  const { order, labels, sidecar, skippedClasses } = contentOf(dataset, unreadable);
  if (order.length === 0) throw unreadableError(dataset, unreadable);
  const classes = dataset.classes - skippedClasses.length;
  const fill = (writer: RecordWriter): void => {
    const bar = progress('import', order.length);
    try {
      for (const [i, index] of order.entries()) {
        const record = dataset.record(index);
        if (record.image.length === 0)
          throw new FileError(dataset.name(index), 'is empty', ['remove it', optionHint('import without --no-check')]);
        const [, ...others] = record.labels;
        const own = [labels[index]!, ...(others.length > 0 ? others : [0])];
        writer.write(i + 1, packImage({ ...record, labels: own, id: i + 1 }));
        bar.update(i + 1);
      }
    } finally {
      bar.stop();
    }
  };
  const about = () => ({ sidecar, ids: idsOf(dataset, order) });
  const set = { prefix, images: order.length, classes, fill, about, bytes: datasetBytes(dataset) };
  await writeRecordSets([set], replacing);
  return {
    prefix,
    images: order.length,
    classes,
    skippedImages: [...unreadable].map(([i, problem]) => ({ id: dataset.id(i), problem })),
    skippedClasses,
    ...(dataset.skippedFiles && { skippedFiles: dataset.skippedFiles }),
  };
}

/** Problem of each image that cannot be decoded, by position. */
async function unreadableImages(dataset: Dataset): Promise<Map<number, string>> {
  const found: [number, string][] = [];
  const positions = Int32Array.from({ length: dataset.size }, (_, i) => i);
  await checkImages(dataset, positions, (result) => {
    if ('problem' in result) found.push([result.i, result.problem]);
  });
  return new Map(found.sort(([a], [b]) => a - b));
}

/** Unreadable images that the message names. */
const MOST_NAMED = 20;

function unreadableError(dataset: Dataset, unreadable: ReadonlyMap<number, string>): UserError {
  const lines = [...unreadable]
    .slice(0, MOST_NAMED)
    .map(([i, problem]) => `\n  ${dataset.name(i)}: cannot be read (${problem})`);
  const more = unreadable.size > MOST_NAMED ? `\n  and ${unreadable.size - MOST_NAMED} more` : '';
  const all = unreadable.size === dataset.size ? 'none' : `${unreadable.size}`;
  return new UserError(
    `${dataset.path}: ${all} of ${dataset.size} images ${all === 'none' ? 'can' : 'cannot'} be read${lines.join('')}${more}`,
    {
      hint: [
        ...(dataset.source.kind === 'files' ? [repairAdvice(dataset)] : []),
        optionHint('pass --skip-bad-images to go on without them'),
      ],
    },
  );
}

/** Which images the new set has, sorted by class, under which labels. Classes that lost all their images lose their place. */
function contentOf(dataset: Dataset, unreadable: ReadonlyMap<number, string>) {
  const before = dataset.labels();
  const order = Array.from(before.keys())
    .filter((i) => !unreadable.has(i))
    .sort((a, b) => before[a]! - before[b]! || a - b);
  const left = new Set(order.map((i) => before[i]!));
  const lost = new Set([...unreadable.keys()].map((i) => before[i]!).filter((label) => !left.has(label)));
  const kept = Array.from({ length: dataset.classes }, (_, label) => label).filter((label) => !lost.has(label));
  const { imageDigest, ...kind } = dataset.sidecar;
  const { classes: names } = kind;
  const place = new Map(kept.map((label, i) => [label, i]));
  const same = order.length === before.length && order.every((index, i) => index === i);
  const sidecar: Sidecar = {
    ...kind,
    ...(imageDigest !== undefined && same && { imageDigest }), // it is of all images in their order
    ...(names && { classes: kept.map((label) => names[label]!) }),
    origin: originOfPart(lineageOf(dataset), { chosen: kept }),
  };
  return {
    order,
    labels: before.map((label) => place.get(label) ?? -1),
    sidecar,
    skippedClasses: [...lost].sort((a, b) => a - b).map((label) => names?.[label] ?? String(label)),
  };
}

/** Skipped images and classes, one line each. */
export function importResultLines({ skippedImages, skippedClasses }: ImportResult): string[] {
  const named = skippedImages.slice(0, MOST_NAMED).map(({ id, problem }) => `  ${id}: ${problem}`);
  return [
    skippedImages.length > 0 && `${formatCount(skippedImages.length, 'unreadable image')} skipped:`,
    ...named,
    skippedImages.length > MOST_NAMED && `  and ${skippedImages.length - MOST_NAMED} more (--json lists all)`,
    skippedClasses.length > 0 &&
      `the new set lacks ${formatCount(skippedClasses.length, 'class', 'classes')} without a readable image: ${skippedClasses.slice(0, MOST_NAMED).join(', ')}`,
  ].filter((line) => line !== false);
}
