import { formatCount } from '../base/progress.ts';
import type { Dataset } from './dataset.ts';
import { checkImages } from './decode-check.ts';
import { NO_FAMILY } from './sidecar.ts';
import type { SkippedFiles } from './skipped-files.ts';

/** The result of `mixbct data info`. */
export type DatasetInfo = {
  readonly path: string;
  readonly digest: string;
  /** What the digest was made of. */
  readonly digestOf: 'all bytes' | 'sizes and samples';
  /** `Dataset.descriptionDigest`: changes with a name of a class or family, or an id; null: there are none. */
  readonly descriptionDigest: string | null;
  readonly images: number;
  readonly classes: number;
  readonly imagesPerClass: { readonly least: number; readonly mean: number; readonly most: number };
  readonly classesWithoutImages: number;
  /** Classes with a single image: they have no genuine pair. */
  readonly classesOfOneImage: number;
  readonly sortedByClass: boolean;
  readonly families: number | null;
  /** `[height, width]` of the images looked at, and how many had it: the most frequent first. */
  readonly sizes: readonly { readonly size: string; readonly images: number }[];
  readonly decoded: number;
  readonly bad: readonly { readonly name: string; readonly problem: string }[];
  readonly skippedFiles?: SkippedFiles;
};

/** Images that are decoded unless all are asked for. */
const SAMPLED = 64;

/** Counts labels and decodes images: 64 spread over the set, or with `verify` every one. */
export async function describeDataset(
  dataset: Dataset,
  { verify = false }: { readonly verify?: boolean } = {},
): Promise<DatasetInfo> {
  const labels = dataset.labels();
  const counts = new Int32Array(dataset.classes);
  for (const label of labels) counts[label]!++;
  const families = new Set(dataset.families());
  families.delete(NO_FAMILY);
  const step = verify ? 1 : Math.max(1, Math.floor(dataset.size / SAMPLED));
  const positions = Int32Array.from({ length: Math.ceil(dataset.size / step) }, (_, k) => k * step);
  const sizes = new Map<string, { readonly pixels: number; images: number }>();
  const bad: { readonly i: number; readonly name: string; readonly problem: string }[] = [];
  await checkImages(dataset, positions, (result) => {
    if ('problem' in result) {
      bad.push({ i: result.i, name: dataset.name(result.i), problem: result.problem });
      return;
    }
    const size = `${result.height}×${result.width}`;
    const entry = sizes.get(size) ?? { pixels: result.height * result.width, images: 0 };
    entry.images++;
    sizes.set(size, entry);
  });
  return {
    path: dataset.path,
    digest: dataset.digest,
    digestOf: dataset.digestIsSampled ? 'sizes and samples' : 'all bytes',
    descriptionDigest: dataset.descriptionDigest ?? null,
    images: dataset.size,
    classes: dataset.classes,
    imagesPerClass: {
      least: counts.reduce((a, b) => Math.min(a, b)),
      mean: dataset.size / dataset.classes,
      most: counts.reduce((a, b) => Math.max(a, b)),
    },
    classesWithoutImages: counts.filter((count) => count === 0).length,
    classesOfOneImage: counts.filter((count) => count === 1).length,
    sortedByClass: labels.every((label, i) => i === 0 || label >= labels[i - 1]!),
    families: families.size > 0 ? families.size : null,
    sizes: [...sizes]
      .sort(([a, x], [b, y]) => y.images - x.images || x.pixels - y.pixels || (a < b ? -1 : 1))
      .map(([size, { images }]) => ({ size, images })),
    decoded: positions.length,
    bad: bad.sort((a, b) => a.i - b.i).map(({ name, problem }) => ({ name, problem })),
    ...(dataset.skippedFiles && { skippedFiles: dataset.skippedFiles }),
  };
}

/** Classes without images that are named. */
const EMPTY_TOLD = 3;

/** One line on the classes of a dataset that have no image, the first of them by name; null if all have one. */
export function describeEmptyClasses(dataset: Dataset): string | null {
  const full = new Set(dataset.labels());
  const count = dataset.classes - full.size;
  if (count <= 0) return null;
  const first: string[] = [];
  for (let id = 0; first.length < Math.min(count, EMPTY_TOLD); id++)
    if (!full.has(id)) first.push(dataset.sidecar.classes?.[id] ?? String(id));
  return `${count} of ${dataset.classes} classes have no image (${first.join(', ')}${count > EMPTY_TOLD ? ', …' : ''})`;
}

/** Sizes, and unreadable images, that the text names. JSON has all. */
const SIZES_TOLD = 4;
const BAD_TOLD = 20;

/** The same as text, a line each. */
export function datasetInfoLines(info: DatasetInfo): string[] {
  const { least, mean, most } = info.imagesPerClass;
  const outstanding = [
    info.classesWithoutImages > 0 && `${formatCount(info.classesWithoutImages, 'class', 'classes')} without images`,
    info.classesOfOneImage > 0 &&
      `${formatCount(info.classesOfOneImage, 'class', 'classes')} of one image, too few for a pair`,
  ].filter(Boolean);
  return [
    `${info.path} (digest ${info.digest}${info.digestOf === 'all bytes' ? '' : ', of file sizes and samples of their bytes'})`,
    ...(info.descriptionDigest === null ? [] : [`  names and ids: digest ${info.descriptionDigest}`]),
    `  ${formatCount(info.images, 'image')} of ${formatCount(info.classes, 'class', 'classes')}: ${least} … ${most} each, ${mean.toFixed(1)} on average`,
    ...(outstanding.length > 0 ? [`  ${outstanding.join('; ')}`] : []),
    `  ${info.families === null ? 'no families known' : `${formatCount(info.families, 'family', 'families')}`}; ${info.sortedByClass ? 'sorted by class' : 'not sorted by class'}`,
    `  ${info.decoded} decoded${sizesText(info.sizes)}; ${info.bad.length} unreadable`,
    ...info.bad.slice(0, BAD_TOLD).map(({ name, problem }) => `    ${name}: ${problem}`),
    ...(info.bad.length > BAD_TOLD ? [`    and ${info.bad.length - BAD_TOLD} more (--json lists all)`] : []),
  ];
}

function sizesText(sizes: DatasetInfo['sizes']): string {
  if (sizes.length === 0) return '';
  const told = sizes.slice(0, SIZES_TOLD).map(({ size, images }) => `${images} of ${size}`);
  if (sizes.length <= SIZES_TOLD) return `: ${told.join(', ')}`;
  const rest = sizes.slice(SIZES_TOLD).reduce((sum, { images }) => sum + images, 0);
  const range = (axis: 0 | 1): string => {
    const values = sizes.map(({ size }) => Number(size.split('×')[axis]));
    return `${values.reduce((a, b) => Math.min(a, b))} … ${values.reduce((a, b) => Math.max(a, b))}`;
  };
  return `: ${told.join(', ')}, ${rest} of ${sizes.length - SIZES_TOLD} other sizes (height ${range(0)}, width ${range(1)})`;
}
