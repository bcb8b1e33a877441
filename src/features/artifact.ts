import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { digestOf, MANIFEST, readJson } from '../artifacts/artifact.ts';
import { digestMismatch, isVerified } from '../artifacts/remembered-digest.ts';
import { FileError, UserError } from '../base/errors.ts';
import { version } from '../base/version.ts';
import type { Dataset } from '../data/index.ts';
import { lineageOf, originSchema } from '../data/lineage.ts';
import type { FeatureSet } from './feature-set.ts';
import { type NpyArray, type NpyType, readNpy } from './npy.ts';

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

/** Reads and checks an artefact's manifest. @throws FileError saying which command makes the thing that was wanted. */
export function readManifest<S extends z.ZodType>(
  path: string,
  schema: S,
  { what, command }: { readonly what: string; readonly command: string },
): z.infer<S> {
  const file = join(path, MANIFEST);
  const hint = `make one with: ${command}`;
  if (!existsSync(path)) throw new FileError(path, `no such folder, wanted ${what}`, hint);
  if (!existsSync(file))
    throw new FileError(path, `is no finished ${what.replace(/^an? /, '')} (it has no ${MANIFEST})`, hint);
  const raw = readJson(file, hint);
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const kind = (raw as { kind?: unknown } | null)?.kind;
  if (kind !== undefined && !result.error.issues.some(({ path: [key] }) => key === undefined || key === 'kind'))
    throw new FileError(file, `its "${issue!.path.join('.')}" is damaged (${issue!.message})`, hint);
  throw new FileError(path, `is ${typeof kind === 'string' ? `a "${kind}"` : 'something else'}, wanted ${what}`, hint);
}

/** What `requireSameDataset` compares with. */
export type DatasetLike = {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly descriptionDigest?: string | null;
};

/**
 * @throws UserError if the artefact at `path` was made from another dataset than `dataset`. One that came from outside and
 * names no dataset passes if it has as many rows, one of 0.3.0 without a look at names and ids.
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
      `${path}: made from ${made.path}, whose names of classes or families or ids of images are others than those of ${dataset.path}`,
      { hint: `restore ${dataset.path}.json and .ids.jsonl, or make it again from this dataset` },
    );
  }
  const from = made
    ? `made from ${made.path} (${made.count} images, digest ${made.digest})`
    : `${count} rows of unknown origin`;
  throw new UserError(
    `${path}: ${from} does not belong to ${dataset.path} (${dataset.size} images, digest ${dataset.digest})`,
    {
      hint: 'rows are looked up by position: make it again from this dataset',
    },
  );
}

/** Fields of the manifest of everything that is derived from a feature set. */
export const derivedFields = {
  version: z.literal(1),
  /** Rows of the feature set. */
  count: z.int(),
  dataset: datasetReference.nullable(),
  /** Digest of the features. */
  features: z.string(),
  /** The model that made the features; null if they came from outside, absent if that is not known. */
  model: z.object({ name: z.string(), digest: z.string() }).nullable().optional(),
  /** Digest of the arrays. */
  digest: z.string(),
  mixbct: z.string(),
};

/** Their values, for what `arrays` hold. */
export const derivedFrom = (features: FeatureSet, arrays: readonly ArrayBufferView[]) => ({
  version: 1 as const,
  count: features.info.count,
  dataset: features.info.dataset,
  features: features.digest,
  model: features.info.model && { name: features.info.model.name, digest: features.info.model.digest },
  digest: digestOfArrays(arrays),
  mixbct: version,
});

const digestOfArrays = (arrays: readonly ArrayBufferView[]): string =>
  digestOf(...arrays.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)));

/** @throws FileError if the arrays of a derived artefact are not those that its manifest describes. */
export function requireArrays(
  path: string,
  { digest: wanted }: { readonly digest: string },
  { arrays, command }: { readonly arrays: readonly ArrayBufferView[]; readonly command: string },
): void {
  if (!isVerified(arrays.reduce((bytes, { byteLength }) => bytes + byteLength, 0))) return;
  const digest = digestOfArrays(arrays);
  if (digest !== wanted) throw digestMismatch(path, digest, wanted, `make it again with: ${command}`);
}

/** What `requireSameSource` compares: a feature set, or what is derived from one. */
export type Sourced = {
  readonly path: string;
  /** Digest of the features; for a feature set its own. */
  readonly features: string;
  readonly model?: { readonly name: string; readonly digest: string } | null | undefined;
  /** It is only good with the very features that it was made from. */
  readonly ofRows?: boolean;
};

/**
 * @throws UserError if two artefacts come from different features, unless both say that the features are of one model and
 * neither is a mask of single rows.
 */
export function requireSameSource(one: Sourced, other: Sourced): void {
  if (one.features === other.features) return;
  const known = one.model && other.model;
  if (known && one.model.digest === other.model.digest && !one.ofRows && !other.ofRows) return;
  const from = ({ path, model, features }: Sourced): string =>
    `${path} (${model ? `model ${model.name} ${model.digest}, ` : ''}features ${features})`;
  throw new UserError(`${from(other)} does not belong to ${from(one)}`, {
    hint: 'make masks, prototypes and boundaries from the very features that they are used with',
  });
}

/** Reads an array of an artefact, whose manifest tells its shape. @throws FileError if it has another. */
export function readArray<T extends NpyType>(
  file: string,
  type: T,
  { shape: wanted, command }: { readonly shape: readonly number[]; readonly command: string },
): NpyArray<T> {
  const { data, shape } = readNpy(file, [type]);
  if (String(shape) === String(wanted)) return data;
  throw new FileError(
    file,
    `has shape [${shape.join(', ')}], wanted [${wanted.join(', ')}]`,
    `make it again with: ${command}`,
  );
}
