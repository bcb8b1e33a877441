import { z } from 'zod';
import type { Reference } from '../artifacts/description.ts';
import { UserError } from '../base/errors.ts';
import type { Dataset } from './dataset.ts';
import { lineageOf, originSchema } from './lineage.ts';

/** The dataset that an artefact was made from. */
export const datasetReference = z.object({
  path: z.string(),
  digest: z.string(),
  count: z.number(),
  classes: z.number(),
  /** `Dataset.descriptionDigest` and `Dataset.filesDigest`, if it had them; 0.3.0 recorded neither. */
  description: z.string().optional(),
  files: z.string().optional(),
  /** The dataset that it is a part of, itself if of none; absent: not known. */
  origin: originSchema.optional(),
});
export type DatasetReference = z.infer<typeof datasetReference>;

export const referenceTo = (dataset: Dataset): DatasetReference => ({
  path: dataset.path,
  digest: dataset.digest,
  count: dataset.size,
  classes: dataset.classes,
  ...(dataset.descriptionDigest && { description: dataset.descriptionDigest }),
  ...(dataset.filesDigest && { files: dataset.filesDigest }),
  origin: lineageOf(dataset).origin,
});

/** The dataset as `mixbct info` follows it. */
export const datasetSource = ({ path, digest, count, classes }: DatasetReference): Reference => ({
  kind: 'dataset',
  path,
  digest,
  note: `${count} images of ${classes} classes`,
});

/** What `requireSameDataset` compares with. */
export type DatasetLike = {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly descriptionDigest?: string | null;
};

/**
 * @throws UserError if the artefact at `path` was made from another dataset than `dataset`. An imported one without a
 * dataset passes if it has as many rows. For one of 0.3.0 names and ids are not compared.
 */
export function requireSameDataset(
  { dataset: made, count }: { readonly dataset: DatasetReference | null; readonly count: number },
  dataset: DatasetLike,
  path: string,
): void {
  if (made ? made.digest === dataset.digest : count === dataset.size) {
    const { descriptionDigest } = dataset;
    if (!made?.description || descriptionDigest === undefined || made.description === descriptionDigest) return;
    throw new UserError(
      `${path}: made from ${made.path}, whose class names, family names or image ids differ from those of ${dataset.path}`,
      { hint: `restore ${dataset.path}.json and .ids.jsonl, or make it again from this dataset` },
    );
  }
  const from = made
    ? `made from ${made.path} (${made.count} images, digest ${made.digest})`
    : `${count} rows of unknown origin`;
  throw new UserError(
    `${path}: ${from} does not belong to ${dataset.path} (${dataset.size} images, digest ${dataset.digest})`,
    { hint: 'rows are looked up by position: make it again from this dataset' },
  );
}
