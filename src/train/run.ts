import { existsSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { digestOf, fileDigest, MANIFEST } from '../artifacts/artifact.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import {
  type ClassKeys,
  classKeysOf,
  type Dataset,
  type PixelMappingName,
  pixelMappings,
  referenceTo,
} from '../data/index.ts';
import { backboneEncoder, type Encoder, type Space } from '../encoders/index.ts';
import { readClassKeys, trainedClassesPath, writeClassKeys } from '../features/index.ts';
import { checkPrecision } from '../models/mixed-precision.ts';
import type { Precision } from '../models/precisions.ts';
import type { Module } from '../nn/index.ts';
import { loadStateDict } from '../nn/state-dict.ts';
import { backboneOf, projectionOf } from '../runs/network.ts';
import { differencesFromReference } from '../runs/preset.ts';
import { type NetworkRecipe, recipeSchema } from '../runs/recipe.ts';
import { isBegun, type RunManifest, runArtifact, runFiles } from '../runs/run-artifact.ts';
import { buildInfo, readSafetensors, scope, type Tensor, writeSafetensors } from '../torch/index.ts';
import type { Session } from './session.ts';

/** @throws UserError if a run stands at `out` that neither `resume` nor `force` says what to do with. */
export function checkRun(out: string, { resume, force }: { readonly resume: boolean; readonly force: boolean }): void {
  const finished = existsSync(join(out, MANIFEST));
  const begun = isBegun(out);
  if (resume && finished) throw new UserError(`${out}: this run is finished, there is nothing to resume`);
  if (resume && !begun)
    throw new UserError(`${out}: there is no checkpoint to resume from`, {
      hint: optionHint('start the run without --resume'),
    });
  if (!resume && !force && existsSync(out))
    throw new UserError(
      finished
        ? `${out}: a finished run stands there`
        : `${out}: ${begun ? 'an unfinished run' : 'something'} stands there`,
      {
        hint: [
          ...(begun && !finished ? [optionHint('pass --resume to go on with it')] : []),
          optionHint('choose another --out'),
          optionHint('pass --force to replace it'),
        ],
      },
    );
}

type Outcome = Pick<
  RunManifest,
  'recipe' | 'old' | 'processes' | 'steps' | 'seconds' | 'dataWaitShare' | 'badImages' | 'counts'
> & {
  readonly session: Session;
  /** The head's state, whole. */
  readonly head: Iterable<readonly [string, Tensor]>;
  readonly dataset: Dataset;
  /** Paths of what it was made from. */
  readonly inputs: readonly (string | undefined)[];
};

export const writeBackbone = (out: string, backbone: Module, network: NetworkRecipe): void =>
  writeSafetensors(runFiles(out).model, backbone.state(), { network: JSON.stringify(network) });

/** Writes backbone and head, and returns the manifest that makes the run a finished one. */
export function writeModel(out: string, { session, head, dataset, inputs, ...outcome }: Outcome): RunManifest {
  mkdirSync(out, { recursive: true });
  const files = runFiles(out);
  writeBackbone(out, session.backbone, outcome.recipe.network);
  if (session.projection) writeSafetensors(files.projection, session.projection.state());
  writeClassKeys(trainedClassesPath(out), classKeysOf(dataset));
  writeSafetensors(files.head, head, { head: JSON.stringify(outcome.recipe.head) });
  const fields = {
    name: outcome.recipe.name ?? basename(out),
    model: fileDigest(files.model),
    dataset: referenceTo(dataset),
    imported: null,
    ...outcome,
    preset: outcome.recipe.preset,
    differences: differencesFromReference(outcome.recipe),
    libtorch: buildInfo().libtorch,
  };
  return runArtifact.manifest(out, fields, inputs);
}

/** A trained backbone, ready to embed. Dispose it after use. */
export type TrainedModel = {
  readonly manifest: RunManifest;
  readonly network: NetworkRecipe;
  readonly backbone: Module;
  /** From its embeddings to the old space. */
  readonly projection: Module | null;
  /** What tells the classes that it was trained on from others; null if that is not known. */
  readonly trainedClassKeys: ClassKeys | null;
  dispose(): void;
};

export function readRunManifest(run: string): RunManifest {
  const path = join(run, MANIFEST);
  const hint = isBegun(run)
    ? `the run is unfinished: mixbct train … --out ${run} --resume`
    : 'train one: mixbct train, or take one in: mixbct import-model';
  if (!existsSync(path)) throw new FileError(run, 'is no finished run', hint);
  const manifest = runArtifact.open(run);
  const recipe = recipeSchema.safeParse(manifest.recipe);
  if (!recipe.success) throw new FileError(path, `its recipe is damaged: ${z.prettifyError(recipe.error)}`);
  return { ...manifest, recipe: recipe.data };
}

/**
 * Loads the backbone of a finished run, and its projection for the `old` space.
 * @throws FileError if the run is unfinished or its model was changed since; UserError if it has no projection.
 */
export function loadModel(run: string, { space = 'own' }: { readonly space?: Space } = {}): TrainedModel {
  const manifest = readRunManifest(run);
  if (space === 'old' && !manifest.recipe.projection)
    throw new UserError(`${manifest.name} has no projection: its own embeddings are in the old space already`, {
      hint: optionHint('leave --space out'),
    });
  runArtifact.verify(run, manifest);
  const { model } = runFiles(run);
  const { network } = manifest.recipe;
  const fill = (path: string, module: Module): Module => {
    scope(() => loadStateDict(path, readSafetensors(path).tensors, module.state()));
    return module;
  };
  const backbone = fill(model, backboneOf(network, new Rng(0)));
  const projection = space === 'old' ? fill(runFiles(run).projection, projectionOf(manifest.recipe, new Rng(0))) : null;
  const dispose = (): void => {
    backbone.dispose();
    projection?.dispose();
  };
  const trainedClassKeys = readClassKeys(trainedClassesPath(run));
  return { manifest, network, backbone, projection, trainedClassKeys, dispose };
}

export type EncoderOptions = {
  readonly space?: Space;
  readonly pixels?: PixelMappingName;
  /** What the backbone computes in, whatever it was trained in. */
  readonly precision?: Precision;
};

/**
 * The encoder of a finished run. In the `old` space its embeddings have gone through the projection.
 * @throws FileError as `loadModel` does; UserError if there is no projection to the old space, or libtorch lacks the precision.
 */
export function openEncoder(
  run: string,
  { space = 'own', pixels = 'train', precision = 'float32' }: EncoderOptions = {},
): Encoder {
  checkPrecision(precision);
  const { manifest, network, backbone, projection, trainedClassKeys } = loadModel(run, { space });
  const { name, model, preset, differences, dataset } = manifest;
  return backboneEncoder(
    { backbone, projection },
    {
      ...{ name, preset, differences, space, precision },
      digest: space === 'old' ? digestOf(model, 'old') : model,
      trainedOn: dataset && { dataset, classKeys: trainedClassKeys },
      dim: projection ? manifest.recipe.projection!.dim : network.embeddingDim,
      side: network.inputSide,
      pixels: pixelMappings[pixels],
    },
  );
}
