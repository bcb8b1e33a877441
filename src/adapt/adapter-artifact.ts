import { join } from 'node:path';
import { z } from 'zod';
import { checkedBySchema, defineArtifact, type Manifest } from '../artifacts/define-artifact.ts';
import { datasetReference, datasetSource } from '../data/dataset-reference.ts';
import { adapterDirections, type FeaturesInfo } from '../features/feature-set-artifact.ts';

/** What an adapter can be: each is fitted by a file of this folder. */
export const adapterMethods = ['identity', 'procrustes', 'ridge', 'low-rank', 'residual-mlp'] as const;
export type AdapterMethod = (typeof adapterMethods)[number];

/** One of the two models; `model` is null if its features came from outside. */
export const modelSide = z.object({
  model: z.object({ name: z.string(), digest: z.string() }).nullable(),
  dim: z.int().positive(),
  /** Digest of the features that the adapter was fitted on. */
  features: z.string(),
});
export type AdapterSide = z.infer<typeof modelSide>;

/** The side of a model by a feature set of it. */
export const modelSideOf = ({
  info: { model, dim },
  digest,
}: {
  readonly info: Pick<FeaturesInfo, 'model' | 'dim'>;
  readonly digest: string;
}): AdapterSide => ({ model: model && { name: model.name, digest: model.digest }, dim, features: digest });

const estimate = z.object({ value: z.number(), low: z.number(), high: z.number() });
/** A metric of the upgrade with an adapter, less that of the old model, with its 95 % interval. */
const result = z.object({ value: z.number(), difference: estimate });
/** Embeddings go this share of the angle from what they are to what the map makes of them; absent: all of it. */
const blend = z.number().min(0).max(1).optional();

const adapterSchema = z.object({
  direction: z.enum(adapterDirections),
  method: z.enum(adapterMethods),
  /** Strength, rank, epochs: what cross-validation chose. */
  settings: z.record(z.string(), z.number()),
  blend,
  old: modelSide,
  new: modelSide,
  /** The images of the features. */
  dataset: datasetReference.nullable(),
  seed: z.int().nonnegative(),
  /** The metric that chose the method and decides `beatsOld`. */
  metric: z.string(),
  /** Numbers of identities that adapters were fitted on, chosen by and tested on. */
  identities: z.object({ fit: z.int(), choose: z.int(), test: z.int() }),
  /** Of the identities to choose by: the old model, and each candidate. */
  chosenBy: z.object({
    old: z.number(),
    candidates: z.array(result.extend({ method: z.enum(adapterMethods), blend })),
  }),
  /** Of the identities to test on, which had no part in fitting or choosing. */
  test: result.extend({ old: z.number() }),
  /** Whether the interval of the test's difference is above 0; false: it was written by `--force`. */
  beatsOld: z.boolean(),
  /** Digest of adapter.safetensors. */
  digest: z.string(),
});
export type AdapterFields = z.infer<typeof adapterSchema>;
export type AdapterInfo = Manifest<AdapterFields>;

export const ADAPTER_FILE = 'adapter.safetensors';
export const adapterFile = (path: string): string => join(path, ADAPTER_FILE);

/** `0.612 against 0.583 of old → old (+0.029, 95 % interval +0.011 … +0.046)` */
export function resultText({ value, old, difference }: AdapterFields['test']): string {
  const signed = (x: number): string => `${x < 0 ? '' : '+'}${x.toFixed(4)}`;
  return `${value.toFixed(4)} against ${old.toFixed(4)} of old → old (${signed(difference.value)}, 95 % interval ${signed(difference.low)} … ${signed(difference.high)})`;
}

/** `procrustes`, `ridge, blend 0.3` */
export const methodText = ({ method, blend }: Pick<AdapterFields, 'method' | 'blend'>): string =>
  blend === undefined ? method : `${method}, blend ${blend}`;

const sideText = ({ model, dim }: AdapterSide): string =>
  `${model ? `${model.name} (digest ${model.digest})` : 'from outside'}, ${dim} dimensions`;

/** The side whose embeddings an adapter maps, and the one into whose space. */
export const sidesOf = (info: Pick<AdapterFields, 'direction' | 'old' | 'new'>) =>
  info.direction === 'query' ? { from: info.new, to: info.old } : { from: info.old, to: info.new };

export const adapterArtifact = defineArtifact<AdapterFields>({
  kind: 'adapter',
  name: 'an adapter',
  command: 'mixbct adapt fit',
  check: checkedBySchema(adapterSchema),
  describe: (info) => ({
    facts: {
      direction: info.direction === 'query' ? 'query: new → old space' : 'gallery: old → new space',
      method: [methodText(info), ...Object.entries(info.settings).map(([name, value]) => `${name} ${value}`)].join(
        ', ',
      ),
      old: sideText(info.old),
      new: sideText(info.new),
      identities: `${info.identities.fit} to fit, ${info.identities.choose} to choose, ${info.identities.test} to test`,
      [info.metric]: resultText(info.test),
      verdict: info.beatsOld ? 'beats the old model' : 'does not beat the old model',
      digest: info.digest,
    },
    sources: [
      { kind: 'features', name: 'old', digest: info.old.features },
      { kind: 'features', name: 'new', digest: info.new.features },
      ...(info.dataset ? [datasetSource(info.dataset)] : []),
    ],
  }),
  digests: ({ digest }) => ({ [ADAPTER_FILE]: digest }),
});
