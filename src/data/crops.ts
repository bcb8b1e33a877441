import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cachedFileDigest } from '../artifacts/cached-digest.ts';
import { digestOf } from '../artifacts/digest.ts';
import { FileError, UserError } from '../base/errors.ts';
import { readRegularFile } from '../base/regular-file.ts';
import type { CropSource, Dataset, ImageFile } from './dataset.ts';
import { alignmentTransform, FIVE_POINTS } from './face-alignment.ts';
import type { Ijb } from './ijb.ts';

/** Landmarks may lie outside of a crop by this share of its larger side: a detector guesses at what the edge cuts off. */
const LANDMARK_MARGIN = 0.5;

export const openCrops = ({ folder, names, landmarks }: CropSource): ImageFile => ({
  encoded: (i) => readRegularFile(join(folder, names[i]!)),
  place: (i, size, side) => {
    const own = landmarks.subarray(i * 10, i * 10 + 10);
    requireInside(own, size);
    return alignmentTransform(own, side);
  },
  close: () => undefined,
});

function requireInside(landmarks: Float32Array, { height, width }: { height: number; width: number }): void {
  const margin = LANDMARK_MARGIN * Math.max(height, width);
  for (let k = 0; k < 10; k += 2) {
    const [x, y] = [landmarks[k]!, landmarks[k + 1]!];
    if (x < -margin || y < -margin || x > width - 1 + margin || y > height - 1 + margin)
      throw new UserError(
        `landmark ${k / 2 + 1} at (${x}, ${y}) is far outside of the picture of ${width} × ${height}`,
      );
  }
}

const cropsFolder = ({ path }: Ijb): string => join(path, 'loose_crop');

/** Digest of name, size and time of change of each crop; null if none of them is there. */
export function cropFilesDigest(ijb: Ijb): string | null {
  const folder = cropsFolder(ijb);
  const hash = createHash('sha256');
  let there = false;
  for (const name of ijb.images.names) {
    const stats = statSync(join(folder, name), { throwIfNoEntry: false });
    there ||= stats !== undefined;
    hash.update(`${name}\0${stats?.size}\0${stats?.mtimeMs}\0`);
  }
  return there ? hash.digest('hex').slice(0, 16) : null;
}

/** When the latest change of a crop was, in milliseconds since 1970. */
export function cropsChangedMs(ijb: Ijb): number {
  const folder = cropsFolder(ijb);
  return ijb.images.names.reduce(
    (latest, name) => Math.max(latest, statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0),
    0,
  );
}

/** Digest of the aligned images: of their lists and of the alignment. The images themselves need not be there. */
export const cropsDigest = ({ files }: Ijb): string =>
  digestOf('five points', ...FIVE_POINTS.map(String), cachedFileDigest(files.list), cachedFileDigest(files.landmarks));

/**
 * The images of an IJB benchmark as a dataset: decoded, then brought to the network's side by one resampling that puts the
 * five landmarks where the template has them. A label is the place of the image's template among the ascending template
 * ids, a family the id of its medium. The digest covers lists, landmarks and template; `filesDigest` name, size and time of
 * each picture.
 * @throws FileError naming the first image that is not there.
 */
export function alignedDataset(ijb: Ijb): Dataset {
  const { names, templates, media, landmarks } = ijb.images;
  const folder = cropsFolder(ijb);
  requireFiles(folder, ijb);
  const place = new Map(Array.from(ijb.templateIds, (id, t) => [id, t]));
  const labels = templates.map((id) => place.get(id)!);
  const path = (i: number): string => join(folder, names[i]!);
  return {
    path: ijb.path,
    digest: cropsDigest(ijb),
    filesDigest: cropFilesDigest(ijb)!,
    size: names.length,
    classes: ijb.templateIds.length,
    sidecar: {},
    alignment: 'five-points',
    labels: () => labels,
    families: () => media,
    record: (i) => ({ labels: [labels[i]!, media[i]!], id: i, image: readRegularFile(path(i)) }),
    id: (i) => names[i]!,
    hasOwnIds: true,
    name: (i) => `${path(i)} (line ${i + 1} of ${basename(ijb.files.list)})`,
    source: { kind: 'crops', folder, names, landmarks },
    close: () => undefined,
    [Symbol.dispose]: () => undefined,
  };
}

/** One look at the folder instead of half a million at files. */
function requireFiles(folder: string, { files, images: { names } }: Ijb): void {
  if (!existsSync(folder))
    throw new FileError(folder, 'no such folder', 'the loose crops of the benchmark belong there');
  const there = new Set(readdirSync(folder));
  const missing = (name: string): boolean => !(name.includes('/') ? existsSync(join(folder, name)) : there.has(name));
  const first = names.findIndex(missing);
  if (first < 0) return;
  const count = names.filter(missing).length;
  throw new FileError(
    files.list,
    `line ${first + 1}: ${names[first]} is not in ${folder} (${count} of ${names.length} images are missing)`,
    'unpack the loose crops of the benchmark again',
  );
}
