import { messageOf } from '../base/errors.ts';
import { progress } from '../base/progress.ts';
import { type Dataset, NO_FAMILY, openSource } from './dataset.ts';
import { decode } from './decode.ts';

/** What `mixbct data info` tells of a dataset. */
export type DatasetInfo = {
  readonly path: string;
  readonly digest: string;
  readonly images: number;
  readonly classes: number;
  readonly imagesPerClass: { readonly least: number; readonly mean: number; readonly most: number };
  readonly classesWithoutImages: number;
  readonly sortedByClass: boolean;
  readonly families: number | null;
  /** `[height, width]` of the images looked at, and how many had it. */
  readonly sizes: readonly { readonly size: string; readonly images: number }[];
  readonly decoded: number;
  readonly bad: readonly { readonly name: string; readonly problem: string }[];
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
  const sizes = new Map<string, number>();
  const bad: { name: string; problem: string }[] = [];
  const source = openSource(dataset.source);
  const bar = progress('decode', Math.ceil(dataset.size / step));
  let decoded = 0;
  try {
    for (let i = 0; i < dataset.size; i += step) {
      try {
        const { height, width } = await decode(source.encoded(i));
        sizes.set(`${height}×${width}`, (sizes.get(`${height}×${width}`) ?? 0) + 1);
      } catch (error) {
        bad.push({ name: dataset.name(i), problem: messageOf(error) });
      }
      bar.update(++decoded);
    }
  } finally {
    bar.stop();
    source.close();
  }
  return {
    path: dataset.path,
    digest: dataset.digest,
    images: dataset.size,
    classes: dataset.classes,
    imagesPerClass: {
      least: counts.reduce((a, b) => Math.min(a, b)),
      mean: dataset.size / dataset.classes,
      most: counts.reduce((a, b) => Math.max(a, b)),
    },
    classesWithoutImages: counts.filter((count) => count === 0).length,
    sortedByClass: labels.every((label, i) => i === 0 || label >= labels[i - 1]!),
    families: families.size > 0 ? families.size : null,
    sizes: [...sizes].map(([size, images]) => ({ size, images })),
    decoded,
    bad,
  };
}
