import { existsSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { checkedBySchema, defineArtifact, type FieldsCheck, type Manifest } from '../artifacts/define-artifact.ts';
import { datasetReference } from '../data/dataset-reference.ts';
import type { Recipe } from './recipe.ts';

/** What a run's directory holds. */
export const runFiles = (out: string) => ({
  recipe: join(out, 'recipe.json'),
  log: join(out, 'log.jsonl'),
  checkpoint: join(out, 'checkpoint.safetensors'),
  /** The one before. */
  previous: join(out, 'checkpoint.previous.safetensors'),
  model: join(out, 'model.safetensors'),
  head: join(out, 'head.safetensors'),
  /** Only of recipes with a projection. */
  projection: join(out, 'projection.safetensors'),
});

const runSchema = z.object({
  name: z.string(),
  /** Digest of the backbone's file: what feature sets name their model by. */
  model: z.string(),
  /** `readRunManifest` checks it. */
  recipe: z.record(z.string(), z.unknown()),
  /** What it was trained on; null if that is not known. */
  dataset: datasetReference.nullable(),
  /** The checkpoint that the model was taken from and the entries of it that were left out; null if it was trained here. */
  imported: z
    .object({
      from: z.string(),
      digest: z.string(),
      leftOut: z.array(z.string()),
      /** What stood before the names of the network. */
      prefix: z.string().default(''),
      /** Entries of the state that are no plain tensors. */
      skipped: z.array(z.string()).default([]),
    })
    .nullable()
    .default(null),
  old: z.string(),
  /** W */
  processes: z.number().default(1),
  steps: z.number(),
  seconds: z.number(),
  dataWaitShare: z.number(),
  badImages: z.number(),
  counts: z.record(z.string(), z.number()),
  preset: z.string(),
  /** Where the recipe differs from the reference. */
  differences: z.array(z.string()).default([]),
  libtorch: z.string(),
});
type RunFields = Omit<z.infer<typeof runSchema>, 'recipe'> & { readonly recipe: Recipe };
export type RunManifest = Manifest<RunFields>;

export const runArtifact = defineArtifact<RunFields>({
  kind: 'run',
  name: 'a run',
  command: 'mixbct train',
  check: checkedBySchema(runSchema) as FieldsCheck<RunFields>,
  digests: ({ model }) => ({ [basename(runFiles('').model)]: model }),
  again: 'the run is damaged: train it again with mixbct train … --force',
});

/** Whether an unfinished run can go on at `out`. */
export const hasCheckpoint = (out: string): boolean =>
  [runFiles(out).checkpoint, runFiles(out).previous].some((path) => existsSync(path));

/** Removes the checkpoints of a run, and one that is being written. */
export function removeCheckpoints(out: string): void {
  const { checkpoint, previous } = runFiles(out);
  for (const path of [checkpoint, previous, `${checkpoint}.new`, `${checkpoint}.new.part`])
    rmSync(path, { force: true });
}
