import { digestOf } from '../base/artifact.ts';
import { UserError } from '../base/errors.ts';
import type { Dataset } from '../data/index.ts';
import { FeatureSet, openCredible, openPrototypes, requireSameDataset } from '../features/index.ts';
import { type MethodName, methodNamed, type Need, type Supply } from '../methods/index.ts';
import { keep, normalizeRows, scope, type Tensor, tensor } from '../torch/index.ts';

/** What the old model left behind, served batch by batch. */
export interface OldSupply {
  /** Names all that it serves: a run records it, and refuses to resume with another. */
  readonly digest: string;
  /** `indices` are positions in the dataset. Tensors belong to the caller's scope. */
  forBatch(indices: Int32Array): Supply;
}

/** Where the old model's artefacts are. */
export type OldPaths = {
  readonly features?: string | undefined;
  readonly credible?: string | undefined;
  readonly prototypes?: string | undefined;
};

const sources: Readonly<Record<Need, { readonly from: keyof OldPaths; readonly make: string }>> = {
  oldEmbedding: { from: 'features', make: 'mixbct extract' },
  credible: { from: 'credible', make: 'mixbct denoise' },
  oldPrototypes: { from: 'prototypes', make: 'mixbct average' },
};

/**
 * Opens what a method needs and checks that it was made from just this dataset.
 * @throws UserError naming what is missing or does not fit, and the command that makes it.
 */
export function openOld(
  method: MethodName,
  paths: OldPaths,
  dataset: Dataset,
  embeddingDim: number,
): OldSupply & Disposable {
  const { needs } = methodNamed(method);
  const missing = needs.filter((need) => paths[sources[need].from] === undefined).map((need) => sources[need]);
  if (missing.length > 0)
    throw new UserError(`method ${method} needs ${missing.map(({ from }) => `--old-${from}`).join(' and ')}`, {
      hint: `make it with ${missing.map(({ make }) => make).join(' and ')}`,
    });
  const features = needs.includes('oldEmbedding') ? openFeatures(paths.features!, dataset, embeddingDim) : null;
  const credible = needs.includes('credible') ? openCredible(paths.credible!) : null;
  if (credible) requireSameDataset(credible.info, dataset, paths.credible!);
  const prototypes = needs.includes('oldPrototypes') ? openPrototypes(paths.prototypes!) : null;
  if (prototypes) requireSameDataset(prototypes.info, dataset, paths.prototypes!);
  const centres = prototypes
    ? keep(tensor(prototypes.rows, { shape: [prototypes.info.classes, prototypes.info.dim] }))
    : null;
  const digests = [features?.digest, credible?.digest, prototypes?.digest].filter((digest) => digest !== undefined);
  return {
    digest: digests.length > 0 ? digestOf(...digests) : 'none',
    forBatch: (indices) =>
      ({
        ...(features && { oldEmbedding: unitRows(features, indices) }),
        ...(credible && { credible: credibleRows(credible.mask, indices) }),
        ...(centres && { oldPrototypes: centres }),
      }) as Supply, // the parts that the method did not declare are absent, and its type cannot read them
    [Symbol.dispose]: () => {
      features?.close();
      centres?.dispose();
    },
  };
}

function openFeatures(path: string, dataset: Dataset, embeddingDim: number): FeatureSet {
  const features = FeatureSet.open(path);
  requireSameDataset(features.info, dataset, path);
  if (features.info.dim !== embeddingDim)
    throw new UserError(
      `${path}: old embeddings have ${features.info.dim} dimensions, the new model makes ${embeddingDim}`,
      {
        hint: `set network.embeddingDim to ${features.info.dim}`,
      },
    );
  return features;
}

/** [B, D], rows of length 1 */
const unitRows = (features: FeatureSet, indices: Int32Array): Tensor =>
  scope(() => normalizeRows(tensor(features.rows(indices), { shape: [indices.length, features.info.dim] })));

/** Positions in the batch of the samples that the mask trusts. */
function credibleRows(mask: Uint8Array, indices: Int32Array): Int32Array {
  const rows: number[] = [];
  for (const [row, index] of indices.entries()) if (mask[index] === 1) rows.push(row);
  return Int32Array.from(rows);
}
