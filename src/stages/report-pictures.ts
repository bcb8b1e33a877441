import { existsSync } from 'node:fs';
import type { Dataset } from '../data/dataset.ts';
import type { Evaluation } from '../eval/index.ts';
import { pictureExamples, type ReportPictures, withoutPictures } from '../report/pictures.ts';

/** Pixels of the longer side of a picture in a report, and its quality as WebP. */
const [SIDE, QUALITY] = [96, 60];
/** Bytes that all pictures of a report may add to it. */
export const MOST_BYTES = 1_000_000;

/**
 * Small pictures of the examples of an evaluation, read from its dataset, while their `data:` addresses have at most `MOST_BYTES`
 * bytes together; and the names of its classes. Without them if the dataset is not there, or another one by now.
 */
export async function reportPictures(evaluation: Evaluation): Promise<ReportPictures> {
  const { path, digest } = evaluation.dataset;
  const examples = pictureExamples(evaluation);
  if (examples.length === 0) return withoutPictures();
  const missing = (why: string) => withoutPictures(`There are no pictures, because ${why}.`);
  const { openDataset } = await import('../data/open-dataset.ts');
  try {
    using dataset = openDataset(path);
    if (dataset.digest !== digest) return missing(`${path} holds other images than when it was evaluated`);
    const names = dataset.sidecar.classes;
    const { addresses, left } = await encode(dataset, examples.map(({ images }) => images)); // biome-ignore format: short
    return {
      image: (position) => addresses.get(position),
      className: (label) => names?.[label] ?? `class ${label}`,
      note: left > 0 ? `${left} examples have no picture: one is unreadable, or the pictures of a report would take more than ${MOST_BYTES / 1e6} MB.` : null, // biome-ignore format: short
    };
  } catch (error) {
    if (existsSync(path)) return missing(`${path} cannot be read: ${(error as Error).message}`);
    return missing(`the dataset ${path} is not there`);
  }
}

/** Addresses of the pictures of those examples, in order, that fit; and how many are left. A picture counts as often as it is shown. */
async function encode(
  dataset: Dataset,
  examples: readonly (readonly number[])[],
): Promise<{ readonly addresses: ReadonlyMap<number, string>; readonly left: number }> {
  const [{ default: sharp }, { decode }] = await Promise.all([import('sharp'), import('../data/decode.ts')]);
  const addresses = new Map<number, string>();
  const addressOf = async (position: number): Promise<string> => {
    const { pixels, height, width } = await decode(dataset.record(position).image);
    // sharp reads later, when the decoder's buffer may hold another picture
    const image = await sharp(Buffer.from(pixels), { raw: { height, width, channels: 3 } })
      .resize(SIDE, SIDE, { fit: 'inside', withoutEnlargement: true })
      .webp({ quality: QUALITY })
      .toBuffer();
    return `data:image/webp;base64,${image.toString('base64')}`;
  };
  let [bytes, left] = [0, 0];
  for (const images of examples) {
    try {
      const found: string[] = [];
      for (const at of images) found.push(addresses.get(at) ?? (await addressOf(at)));
      const size = found.reduce((sum, { length }) => sum + length, 0);
      if (bytes + size > MOST_BYTES) left++;
      else {
        bytes += size;
        for (const [i, at] of images.entries()) addresses.set(at, found[i]!);
      }
    } catch {
      left++; // an unreadable picture takes its example with it, not the report
    }
  }
  return { addresses, left };
}
