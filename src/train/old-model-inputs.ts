import { digestOf } from '../artifacts/digest.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { type Dataset, requireSameDataset } from '../data/index.ts';
import {
  classesWithoutRows,
  FeatureSet,
  type FeatureSource,
  labelsDigest,
  openBoundaries,
  openCredible,
  openPrototypes,
  requireSameSource,
  rowsByClass,
} from '../features/index.ts';
import {
  type ConfiguredMethod,
  configureMethod,
  type OldModelBatch,
  type OldModelConstants,
  type OldModelInput,
} from '../methods/index.ts';
import type { Recipe } from '../runs/recipe.ts';
import { keep, normalizeRows, scope, type Tensor, tensor } from '../torch/index.ts';

/** What a method needs of the old model, served batch by batch. */
export interface OldModelInputs {
  /** Digest of all artefacts that it serves. A run records it and resumes only with the same. */
  readonly digest: string;
  /** Inputs that are the same for every batch. Those that the method did not declare are absent. */
  readonly constants: OldModelConstants;
  /** Positions of the samples that have everything the method needs; absent: all. */
  readonly samples?: Int32Array | undefined;
  /** `indices` are positions in the dataset. Tensors belong to the caller's scope. */
  forBatch(indices: Int32Array): OldModelBatch;
}

/** For methods that need nothing of the old model. */
export const noOldModelInputs: OldModelInputs = {
  digest: 'none',
  constants: {} as OldModelConstants,
  forBatch: () => ({}) as OldModelBatch,
};

/** Paths of the old model's artefacts. */
export type OldModelPaths = {
  readonly features?: string | undefined;
  readonly credible?: string | undefined;
  readonly prototypes?: string | undefined;
  readonly boundaries?: string | undefined;
};

const sources: Readonly<Record<OldModelInput, { readonly from: keyof OldModelPaths; readonly make: string }>> = {
  oldEmbedding: { from: 'features', make: 'mixbct extract' },
  oldRows: { from: 'features', make: 'mixbct extract' },
  credible: { from: 'credible', make: 'mixbct denoise' },
  oldPrototypes: { from: 'prototypes', make: 'mixbct average' },
  oldBoundaries: { from: 'boundaries', make: 'mixbct boundaries' },
};

/** What a method cannot do without, by the names of `OldModelPaths`. */
export const pathsNeeded = ({ needs }: Pick<ConfiguredMethod, 'needs'>): (keyof OldModelPaths)[] => [
  ...new Set(needs.map((need) => sources[need].from)),
];

const IMPORT_WITH_DATA =
  'classes are looked up by number: import the features with mixbct import-features … --data, then make it again';

/** An artefact of the old model as this file checks it: a feature set, or what names the features that it is derived from. */
type Opened = {
  readonly digest: string;
  readonly info: Parameters<typeof requireSameDataset>[0] &
    Pick<FeatureSource, 'model'> & {
      readonly features?: string;
      readonly labels?: string | undefined;
      readonly dim?: number;
      readonly classes?: number;
    };
};

/**
 * Opens the artefacts that a method needs, and optional ones that are given. Checks that one model made all of them from this
 * dataset, and that they have the dimension of the space that both models share.
 * @throws UserError naming what is missing or does not fit, and the command that makes it.
 */
export function openOldModelInputs(
  { method, network, projection }: Pick<Recipe, 'method' | 'network' | 'projection'>,
  paths: OldModelPaths,
  dataset: Dataset,
): OldModelInputs & Disposable {
  const { name, needs, wants, projects } = configureMethod(method);
  const missing = needs.filter((need) => paths[sources[need].from] === undefined).map((need) => sources[need]);
  if (missing.length > 0)
    throw new UserError(`method ${name} needs ${missing.map(({ from }) => `old-${from}`).join(' and ')}`, {
      hint: [
        `make it with ${missing.map(({ make }) => make).join(' and ')}`,
        optionHint(
          'pass',
          missing.map(({ from }) => `--old-${from}` as const),
        ),
      ],
    });
  const used = new Set([...needs, ...wants].map((need) => sources[need].from));
  const unused = (Object.keys(paths) as (keyof OldModelPaths)[]).find(
    (from) => paths[from] !== undefined && !used.has(from),
  );
  if (unused) throw new UserError(`method ${name} does not use old-${unused}`, { hint: 'omit it' });

  const oldDim = projection?.dim ?? network.embeddingDim;
  const opens: FeatureSource[] = [];
  const open = <T extends Opened>(from: keyof OldModelPaths, opener: (path: string) => T): T | null => {
    const path = paths[from];
    if (path === undefined) return null;
    const opened = opener(path);
    requireSameDataset(opened.info, dataset, path);
    const { dim, classes, model, features = opened.digest } = opened.info;
    const source = { path, features, model, ofRows: from === 'credible' };
    for (const other of opens) requireSameSource(other, source);
    opens.push(source);
    if (from !== 'features' && classes !== undefined && classes !== dataset.classes)
      throw new UserError(`${path}: made of ${classes} classes, ${dataset.path} has ${dataset.classes}`, {
        hint: IMPORT_WITH_DATA,
      });
    if (from !== 'features' && opened.info.dataset === null) requireLabelsOf(opened.info.labels, dataset, path);
    if (dim !== undefined && dim !== oldDim)
      throw new UserError(
        `${path}: old embeddings have ${dim} dimensions, the new model ${projection ? 'projects to' : 'makes'} ${oldDim}`,
        { hint: projectionHint({ name, projects }, dim, { network, projection }) },
      );
    return opened;
  };
  const features = open('features', FeatureSet.open);
  if (features?.info.dataset === null) requireSameLabels(features, dataset);
  const credible = open('credible', openCredible);
  const prototypes = open('prototypes', openPrototypes);
  const boundaries = open('boundaries', openBoundaries);
  const kept: Tensor[] = [];
  const hold = (rows: Float32Array, shape: readonly number[]): Tensor => {
    kept.push(keep(tensor(rows, { shape })));
    return kept.at(-1)!;
  };
  const constants = {
    ...(prototypes && { oldPrototypes: hold(prototypes.rows, [prototypes.info.classes, oldDim]) }),
    ...(boundaries && {
      oldBoundaries: {
        centres: hold(boundaries.centres, [boundaries.info.classes, oldDim]),
        radii: hold(boundaries.largest, [boundaries.info.classes]),
        several: hold(
          Float32Array.from(boundaries.kept, (kept) => (kept > 1 ? 1 : 0)),
          [boundaries.info.classes],
        ),
      },
    }),
    ...(features && {
      oldRows: {
        rows: (indices: ArrayLike<number>) => features.rows(indices),
        byClass: () => rowsByClass(features, dataset.classes),
      },
    }),
  } as OldModelConstants;
  const digests = [features, credible, prototypes, boundaries].flatMap((part) => (part ? [part.digest] : []));
  const reads = (input: OldModelInput): boolean => needs.includes(input) || wants.includes(input);
  const wantsEmbedding = features !== null && reads('oldEmbedding');
  return {
    digest: digests.length > 0 ? digestOf(...digests) : 'none',
    constants,
    samples: samplesWith(dataset, {
      missing: wantsEmbedding ? features.missing() : new Set(),
      classes: new Set([
        ...(features && reads('oldRows') ? classesWithoutRows(features) : []),
        ...(prototypes?.info.empty ?? []),
        ...(boundaries ? [...boundaries.kept.keys()].filter((label) => boundaries.kept[label] === 0) : []),
      ]),
    }),
    forBatch: (indices) =>
      ({
        ...constants,
        ...(wantsEmbedding && { oldEmbedding: unitRows(features, indices) }),
        ...(credible && { credible: credibleRows(credible.mask, indices) }),
      }) as OldModelBatch,
    [Symbol.dispose]: () => {
      features?.close();
      for (const part of kept) part.dispose();
    },
  };
}

/** Positions of the samples that are not missing and whose class has old embeddings; undefined if these are all. */
function samplesWith(
  dataset: Dataset,
  { missing, classes }: { readonly missing: ReadonlySet<number>; readonly classes: ReadonlySet<number> },
): Int32Array | undefined {
  if (missing.size === 0 && classes.size === 0) return undefined;
  const labels = dataset.labels();
  const samples = Int32Array.from(labels.keys()).filter((i) => !missing.has(i) && !classes.has(labels[i]!));
  return samples.length < dataset.size ? samples : undefined;
}

/** What to do when the dimensions of the two models differ. */
function projectionHint(
  { name, projects }: Pick<ConfiguredMethod, 'name' | 'projects'>,
  dim: number,
  { network, projection }: Pick<Recipe, 'network' | 'projection'>,
): string {
  const narrow = projection?.orthonormal && network.embeddingDim < dim;
  if (projection) return `set projection.dim to ${dim}${narrow ? ` and network.embeddingDim to ${dim} or more` : ''}`;
  return projects
    ? `set network.embeddingDim to ${dim}, or give the recipe a projection: { dim: ${dim} }`
    : `set network.embeddingDim to ${dim} (${name} cannot project)`;
}

/** Imported features name no dataset, so their labels are compared with the dataset's. */
function requireSameLabels(features: FeatureSet, dataset: Dataset): void {
  const [theirs, ours] = [features.labels(), dataset.labels()];
  const row = theirs.findIndex((label, i) => label !== ours[i]);
  if (row >= 0)
    throw new FileError(
      features.path,
      `${features.name(row)} is of class ${theirs[row]}, image ${row} of ${dataset.path}${dataset.hasOwnIds ? ` (${dataset.id(row)})` : ''} of class ${ours[row]}`,
      features.classIds()
        ? 'its classes were numbered at import: mixbct import-features … --data keeps the class ids of the dataset'
        : 'rows are looked up by position: bring the features in dataset order',
    );
}

/** The same for what is derived from such features, which keeps a digest of their labels. */
function requireLabelsOf(labels: string | undefined, dataset: Dataset, path: string): void {
  if (labels === undefined)
    logLine(`note: ${path} names no dataset; its classes are taken for those of ${dataset.path}, number by number`);
  else if (labels !== labelsDigest([dataset.labels()]))
    throw new UserError(
      `${path}: made of rows of other classes than the images of ${dataset.path}, or in another order`,
      {
        hint: IMPORT_WITH_DATA,
      },
    );
}

/** Rows of the features, normalised to length 1. [B, D] */
const unitRows = (features: FeatureSet, indices: Int32Array): Tensor =>
  scope(() => normalizeRows(tensor(features.rows(indices), { shape: [indices.length, features.info.dim] })));

/** Positions in the batch of the samples that the mask trusts. */
function credibleRows(mask: Uint8Array, indices: Int32Array): Int32Array {
  const rows: number[] = [];
  for (const [row, index] of indices.entries()) if (mask[index] === 1) rows.push(row);
  return Int32Array.from(rows);
}
