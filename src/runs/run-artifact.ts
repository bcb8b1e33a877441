import { existsSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { checkedBySchema, defineArtifact, type FieldsCheck, type Manifest } from '../artifacts/define-artifact.ts';
import { formatCount, formatDuration } from '../base/progress.ts';
import { datasetReference, datasetSource } from '../data/dataset-reference.ts';
import { inputSchema, modelInput } from '../data/model-input.ts';
import { preprocessingOf, preprocessingText } from '../features/feature-set-artifact.ts';
import { methodTitle } from '../methods/method.ts';
import type { Recipe } from './recipe.ts';

/** What a run's directory holds. */
export const runFiles = (out: string) => ({
  recipe: join(out, 'recipe.json'),
  log: join(out, 'log.jsonl'),
  /** Messages and validations. */
  events: join(out, 'events.jsonl'),
  checkpoint: join(out, 'checkpoint.safetensors'),
  /** The previous checkpoint. */
  previous: join(out, 'checkpoint.previous.safetensors'),
  /** The model of the best validation, while the run is unfinished and its recipe asks for it. */
  best: join(out, 'best.safetensors'),
  /** A better one, until the next checkpoint is written: a run that goes on from the last one takes it back. */
  newBest: join(out, 'best.new.safetensors'),
  /** Event files, if the recipe asks for them. */
  tensorboard: join(out, 'tensorboard'),
  model: join(out, 'model.safetensors'),
  /** In place of it: the model of an imported ONNX file. */
  onnx: join(out, 'model.onnx'),
  head: join(out, 'head.safetensors'),
  /** Only of scripted networks: the program, as the recipe's file had it. */
  script: join(out, 'backbone.pt'),
  /** Only of recipes with a projection. */
  projection: join(out, 'projection.safetensors'),
});

const runSchema = z.object({
  name: z.string(),
  /** Names the model in feature sets: the digest of the backbone's file, or of it with the declared input and the projection. */
  model: z.string(),
  /** Digest of the backbone's file, where it is not `model`. */
  weights: z.string().optional(),
  /** How an ONNX model is run, and the digests of its files; absent: it is a backbone of mixbct. */
  onnx: z
    .object({
      input: z.string(),
      type: z.enum(['float32', 'float16', 'uint8']),
      layout: z.enum(['NCHW', 'NHWC']),
      batch: z.int().positive().nullable(),
      output: z.string(),
      files: z.record(z.string(), z.string()),
    })
    .optional(),
  /** `readRunManifest` checks all of it, which loads every method and backbone. */
  recipe: z.looseObject({
    network: z.looseObject({ name: z.string(), embeddingDim: z.number(), inputSide: z.number() }),
    method: z.looseObject({ kind: z.string() }),
    seed: z.number(),
  }),
  /** What it was trained on; null if that is not known. */
  dataset: datasetReference.nullable(),
  /** The checkpoint that the model was taken from and its skipped entries; null if it was trained here. */
  imported: z
    .object({
      from: z.string(),
      digest: z.string(),
      leftOut: z.array(z.string()),
      /** Prefix removed from the names. */
      prefix: z.string().default(''),
      /** Entries that are not plain tensors. */
      skipped: z.array(z.string()).default([]),
    })
    .nullable()
    .default(null),
  /** What training began from; absent: random weights. Names are those of the session's state. */
  init: z
    .object({
      from: z.string(),
      digest: z.string(),
      taken: z.array(z.string()),
      /** Tensors of the model that were drawn at random. */
      fresh: z.array(z.string()),
      /** Entries of `from` that the model does not have, or not in this shape. */
      unused: z.array(z.string()),
    })
    .optional(),
  /** Digest of a scripted network's file. */
  script: z.string().optional(),
  /** Digest of the projection's file; absent: there is none, or the run was made before 0.4.0. */
  projection: z.string().optional(),
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
  /** What validations told; absent: there were none. Steps count from the beginning. */
  validation: z
    .object({
      /** Of the held-out images and the old model's features of them. */
      digest: z.string(),
      metric: z.string(),
      best: z.number().nullable(),
      bestStep: z.number(),
      /** The step whose model it is. */
      kept: z.number(),
    })
    .optional(),
  libtorch: z.string(),
});
export type RunFields = Omit<z.infer<typeof runSchema>, 'recipe'> & { readonly recipe: Recipe };
export type RunManifest = Manifest<RunFields>;

export const runArtifact = defineArtifact<RunFields>({
  kind: 'run',
  name: 'a run',
  command: 'mixbct train',
  check: checkedBySchema(runSchema) as FieldsCheck<RunFields>,
  digests: ({ model, weights = model, script, projection, onnx }) =>
    onnx?.files ?? {
      [basename(runFiles('').model)]: weights,
      ...(script !== undefined && { [basename(runFiles('').script)]: script }),
      ...(projection !== undefined && { [basename(runFiles('').projection)]: projection }),
    },
  describe: ({ recipe: { network, input, method, seed }, dataset, imported, init, onnx, old, ...run }) => ({
    facts: {
      model: `${run.name}: ${network.name}, ${network.embeddingDim} dimensions, input ${network.inputSide} × ${network.inputSide}`,
      digest: run.model,
      ...(onnx && {
        file: `ONNX, ${onnx.input} (${onnx.type} ${onnx.layout}, ${onnx.batch ?? 'any'} at a time) to ${onnx.output}`,
      }),
      ...inputFact(input),
      ...(imported
        ? { state: `imported${imported.leftOut.length > 0 ? `, without ${imported.leftOut.length} entries` : ''}` }
        : {
            state: 'finished',
            method: methodTitle(method),
            training: `${run.steps} steps in ${formatDuration(1000 * run.seconds)}, ${formatCount(run.processes, 'process', 'processes')}`,
            ...(init && { 'began from': `${init.from}, ${formatCount(init.taken.length, 'tensor')} taken` }),
            ...(run.badImages > 0 && { 'unreadable images': run.badImages }),
            ...run.counts,
            ...validationFact(run.validation),
            preset: `${run.preset}, ${formatCount(run.differences.length, 'difference')} from the reference`,
            seed,
          }),
      libtorch: run.libtorch,
    },
    sources: [
      ...(dataset ? [datasetSource(dataset)] : []),
      ...(imported ? [{ kind: 'file', path: imported.from, digest: imported.digest }] : []),
      // a run is among the sources that the manifest lists
      ...(init && !run.madeFrom?.some(({ kind }) => kind === 'run')
        ? [{ kind: 'file', path: init.from, digest: init.digest }]
        : []),
      ...(old === 'none' || run.madeFrom ? [] : [{ kind: 'old model', digest: old }]),
    ],
    ...(imported && { command: 'mixbct import-model' }),
  }),
  again: 'the run is damaged: train it again with mixbct train … --force',
});

function validationFact(validation: RunFields['validation']): { readonly validation?: string } {
  if (!validation || validation.best === null) return {};
  const { metric, best, bestStep, kept } = validation;
  return {
    validation: `best ${metric} ${(100 * best).toFixed(2)} % at step ${bestStep}, the model is that of step ${kept}`,
  };
}

/** What is declared of the input, if it is. */
function inputFact(input: unknown): { readonly input?: string } {
  const { success, data } = inputSchema.safeParse(input);
  return success ? { input: preprocessingText(preprocessingOf({}, modelInput(data))) } : {};
}

/** Whether an unfinished run at `out` can resume. */
export const hasCheckpoint = (out: string): boolean =>
  [runFiles(out).checkpoint, runFiles(out).previous].some((path) => existsSync(path));

/** Removes the checkpoints of a run, and one that is being written. */
export function removeCheckpoints(out: string): void {
  const { checkpoint, previous, best, newBest } = runFiles(out);
  for (const path of [
    checkpoint,
    previous,
    `${checkpoint}.new`,
    `${checkpoint}.new.part`,
    best,
    newBest,
    `${newBest}.part`,
  ])
    rmSync(path, { force: true });
}
