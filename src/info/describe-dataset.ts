import { existsSync, statSync } from 'node:fs';
import type { Reference } from '../artifacts/description.ts';
import { formatBytes } from '../artifacts/durable-write.ts';
import { formatCount } from '../base/progress.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Draw } from '../data/lineage.ts';
import { openDataset } from '../data/open-dataset.ts';
import { recordFiles } from '../data/recordio.ts';
import { idsPath, sidecarPath } from '../data/sidecar.ts';
import type { Description } from './description.ts';

/** A digest of more bytes takes longer than the rest of `mixbct info`. Beyond 256 MB it is made of samples. */
const MOST_BYTES = 64e6;

const filesOf = ({ path, source }: Dataset): readonly string[] => {
  if (source.kind === 'files') return source.files;
  const { rec, idx } = recordFiles(path);
  return [rec, idx, sidecarPath(path), idsPath(path)].filter((file) => existsSync(file));
};

const bytesOf = (dataset: Dataset): number => filesOf(dataset).reduce((sum, file) => sum + statSync(file).size, 0);

/** The digest of a dataset; null if too much would have to be read for it. */
export const quickDigest = (dataset: Dataset): string | null =>
  bytesOf(dataset) > MOST_BYTES && !dataset.digestIsSampled ? null : dataset.digest;

/** @throws FileError if there is no dataset, or it is damaged. */
export function describeDatasetAt(path: string): Description {
  using dataset = openDataset(path);
  const { size, classes, sidecar, skippedFiles } = dataset;
  const bytes = bytesOf(dataset);
  const skipped = skippedFiles?.skipped.reduce((sum, { count }) => sum + count, 0) ?? 0;
  return {
    path,
    kind: 'dataset',
    name: dataset.source.kind === 'records' ? 'record set' : 'image folder',
    facts: {
      images: `${size} of ${classes} classes`,
      ...(sidecar.families && { families: sidecar.families.length }),
      ...(sidecar.note !== undefined && { note: sidecar.note }),
      ...(skipped > 0 && { skipped: `${formatCount(skipped, 'file')} (mixbct data info tells which)` }),
      digest: quickDigest(dataset) ?? `of ${formatBytes(bytes)}, not read (mixbct data info reads them)`,
    },
    sources: sidecar.origin ? [originSource(sidecar.origin)] : [],
    madeBy: null,
    bytes,
    files: filesOf(dataset).length,
  };
}

/** What a part was taken from last, that from what it was taken, … back to the origin. */
function originSource({ digest, draws }: { readonly digest: string; readonly draws: readonly Draw[] }): Reference {
  let source: Reference = { kind: 'dataset', digest };
  for (const draw of draws)
    source = { kind: 'dataset', digest: draw.of, note: textOf(draw), ...(draw.of !== digest && { sources: [source] }) };
  return source;
}

const textOf = (draw: Draw): string =>
  'perClass' in draw
    ? `${draw.perClass} images of each class were drawn, seed ${draw.seed}`
    : `the ${draw.part} part of each class was taken, split at ${draw.ratio}`;
