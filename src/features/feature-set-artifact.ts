import { basename, join } from 'node:path';
import { z } from 'zod';
import { checkedBySchema, defineArtifact, type Manifest } from '../artifacts/define-artifact.ts';
import type { Reference } from '../artifacts/description.ts';
import { type DatasetReference, datasetReference, datasetSource } from '../data/dataset-reference.ts';
import type { ModelInput } from '../data/model-input.ts';
import { channelOrders, pixelMappings, resizeRules } from '../data/pixels.ts';
import type { ModelIdentity } from '../encoders/index.ts';
import { missingSchema } from './missing-rows.ts';

/** What was done to pictures before the model saw them. */
const perChannel = z.tuple([z.number(), z.number(), z.number()]);
export const preprocessingSchema = z
  .object({
    alignment: z.enum(['none', 'five-points']),
    /** What pixels less 127.5 were divided by, of a model that declares no mapping of its own. */
    pixelDivisor: z.number().positive().optional(),
    /** The mapping that the model declares. */
    pixels: z.object({ channels: z.enum(channelOrders), mean: perChannel, std: perChannel }).optional(),
    /** How pictures that were not aligned became squares; absent: they were stretched. */
    resize: z.object({ rule: z.enum(resizeRules), background: perChannel }).optional(),
  })
  .refine(({ pixelDivisor, pixels }) => (pixelDivisor === undefined) !== (pixels === undefined));
export type Preprocessing = z.infer<typeof preprocessingSchema>;
export const defaultPreprocessing: Preprocessing = { alignment: 'none', pixelDivisor: pixelMappings.train.std[0] };

/** What happens to the pictures of a dataset before a model with such input sees them. */
export function preprocessingOf(
  { alignment = 'none' }: { readonly alignment?: Preprocessing['alignment'] },
  { pixels, resize }: ModelInput,
): Preprocessing {
  const undeclared = Object.values(pixelMappings).includes(pixels);
  const { channels, mean, std } = pixels;
  return {
    alignment,
    ...(undeclared ? { pixelDivisor: std[0] } : { pixels: { channels, mean: [...mean], std: [...std] } }),
    ...(alignment === 'none' &&
      resize.rule !== 'stretch' && { resize: { rule: resize.rule, background: [...resize.background] } }),
  };
}

/** The preprocessing in words. */
export function preprocessingText({ alignment, pixelDivisor, pixels, resize }: Preprocessing): string {
  const mapping = pixels
    ? `${pixels.channels} less ${pixels.mean.join(', ')}, divided by ${pixels.std.join(', ')}`
    : `pixels divided by ${pixelDivisor}`;
  return `alignment ${alignment}, ${mapping}${resize ? `, resize ${resize.rule}` : ''}`;
}

/** The model that made embeddings. */
export const modelSchema = z.object({
  name: z.string(),
  digest: z.string(),
  preset: z.string().default('default'),
  differences: z.array(z.string()).default([]),
  /** What it was trained on; null if that is not known. */
  trainedOn: datasetReference.nullable().default(null),
});

/** The model of an encoder, as a manifest records it. */
export const modelOf = ({
  name,
  digest,
  preset,
  differences,
  trainedOn,
}: ModelIdentity): z.infer<typeof modelSchema> => ({
  ...{ name, digest, preset, differences: [...differences], trainedOn: trainedOn?.dataset ?? null },
});

/** How features.npy stores numbers, and what the model computed in. */
export const dtypeSchema = z.enum(['float32', 'float16']).default('float32');
export const precisionSchema = z.enum(['float32', 'bf16', 'fp16']).default('float32');

type StoredRows = { readonly dim: number; readonly dtype: z.infer<typeof dtypeSchema> };

/** Bytes of an embedding as it is stored. */
export const rowBytes = ({ dim, dtype }: StoredRows): number => dim * (dtype === 'float16' ? 2 : 4);

/** `query`: an adapter maps the new model's embeddings into the old space. `gallery`: the old model's into the new space. */
export const adapterDirections = ['query', 'gallery'] as const;
export type AdapterDirection = (typeof adapterDirections)[number];

/** The adapter that embeddings went through, with the digests of the models whose space they come from and went to. */
export const appliedAdapterSchema = z.object({
  digest: z.string(),
  method: z.string(),
  direction: z.enum(adapterDirections),
  /** null: the model is not known, for its features came from outside. */
  from: z.string().nullable(),
  to: z.string().nullable(),
  /** What it was fitted on, features by their digests; absent: not known. */
  fittedOn: z.object({ dataset: datasetReference.nullable(), features: z.array(z.string()) }).optional(),
});
export type AppliedAdapter = z.infer<typeof appliedAdapterSchema>;

const featuresSchema = z.object({
  /** D, N, C */
  dim: z.int().positive(),
  count: z.int().nonnegative(),
  classes: z.int().positive(),
  /** The model that made them; null if they came from outside. */
  model: modelSchema.nullable(),
  /** Absent: the embeddings are as the model made them. */
  adapter: appliedAdapterSchema.optional(),
  dataset: datasetReference.nullable(),
  /** `mean`: of each image and its mirror; `random`: of one of both. */
  flip: z.enum(['none', 'mean', 'random']),
  /** Of random flips; 0.3.0 did not record it. */
  seed: z.int().optional(),
  preprocessing: preprocessingSchema.default(defaultPreprocessing),
  dtype: dtypeSchema,
  precision: precisionSchema,
  /** Rows that have no embedding, ascending. */
  missing: missingSchema,
  /** Digest of features.npy. */
  digest: z.string(),
  /** Digests of the other files, by name. */
  files: z.record(z.string(), z.string()).default({}),
});

/** The files of a set. */
export const featureFiles = (path: string) => ({
  features: join(path, 'features.npy'),
  labels: join(path, 'labels.npy'),
  families: join(path, 'families.npy'),
  /** Only where ids are known. */
  ids: join(path, 'ids.jsonl'),
  /** Only where classes were numbered. */
  classIds: join(path, 'class-ids.npy'),
});

/** Model and dataset that features were made from, as far as they are known. */
export function modelAndData({
  model,
  dataset,
}: {
  readonly model?: ModelReference | null | undefined;
  readonly dataset: DatasetReference | null;
}): Reference[] {
  const trainedOn = model?.trainedOn ? [datasetSource(model.trainedOn)] : [];
  return [
    ...(model ? [{ kind: 'run', name: model.name, digest: model.digest, sources: trainedOn }] : []),
    ...(dataset ? [datasetSource(dataset)] : []),
  ];
}

type ModelReference = {
  readonly name: string;
  readonly digest: string;
  readonly trainedOn?: DatasetReference | null;
};

/** The model that made the embeddings, before they went through an adapter. */
const modelBefore = ({ model, adapter }: Pick<FeatureSetFields, 'model' | 'adapter'>): ModelReference | null =>
  model && { ...model, digest: adapter?.from ?? model.digest };

/** A model for a person. */
export const modelText = ({ name, digest, preset }: z.infer<typeof modelSchema>): string =>
  `${name} (digest ${digest}, preset ${preset})`;

type FeatureSetFields = z.infer<typeof featuresSchema>;
export type FeaturesInfo = Manifest<FeatureSetFields>;

export const featureSetArtifact = defineArtifact<FeatureSetFields>({
  kind: 'features',
  name: 'a feature set',
  command: 'mixbct extract',
  check: checkedBySchema(featuresSchema),
  describe: (info) => ({
    facts: {
      embeddings: `${info.count} of ${info.dim} dimensions, ${info.classes} classes, ${info.dtype}`,
      ...(info.missing.length > 0 && { missing: info.missing.length }),
      model: info.model ? modelText(info.model) : 'from outside',
      ...(info.adapter && { adapter: `${info.adapter.method}, for the ${info.adapter.direction}` }),
      flip: info.flip,
      preprocessing: preprocessingText(info.preprocessing),
      precision: info.precision,
      digest: info.digest,
    },
    sources: [
      ...(info.adapter ? [{ kind: 'adapter', name: info.adapter.method, digest: info.adapter.digest }] : []),
      ...modelAndData({ ...info, model: modelBefore(info) }),
    ],
    ...(info.adapter
      ? { command: 'mixbct adapt apply' }
      : info.model === null && { command: 'mixbct import-features' }),
  }),
  again: 'make the feature set again',
  digests: ({ files, digest }) => ({ ...files, [basename(featureFiles('').features)]: digest }),
});
