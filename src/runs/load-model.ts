import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { MANIFEST } from '../artifacts/manifest.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import type { ClassKeys } from '../data/index.ts';
import type { Space } from '../encoders/index.ts';
import { readClassKeys, trainedClassesPath } from '../features/index.ts';
import { knownMethods, partsOf } from '../methods/index.ts';
import type { Module } from '../nn/index.ts';
import { loadStateDict } from '../nn/state-dict.ts';
import { readSafetensors, scope } from '../torch/index.ts';
import { backboneOf, projectionOf } from './network.ts';
import { type NetworkRecipe, onnxRecipeSchema, recipeSchema } from './recipe.ts';
import { hasCheckpoint, type RunManifest, runArtifact, runFiles } from './run-artifact.ts';

/** A trained backbone, ready to embed. Dispose it after use. */
export type LoadedModel = {
  readonly manifest: RunManifest;
  readonly backbone: Module;
  /** From its embeddings to the old space. */
  readonly projection: Module | null;
  /** Keys of its training classes; null if unknown. */
  readonly trainedClassKeys: ClassKeys | null;
  dispose(): void;
};

/** The network of a run, which holds a copy of the file of a scripted one. */
const networkIn = (run: string, network: NetworkRecipe): NetworkRecipe =>
  network.file === undefined ? network : { ...network, file: runFiles(run).script };

/** The manifest of a finished run. @throws FileError if the run is unfinished or damaged. */
export function readRunManifest(run: string): RunManifest {
  const path = join(run, MANIFEST);
  const hint = hasCheckpoint(run)
    ? `the run is unfinished: mixbct train … --out ${run} --resume`
    : 'train one: mixbct train, or take one in: mixbct import-model';
  if (!existsSync(path)) throw new FileError(run, 'is no finished run', hint);
  const manifest = runArtifact.open(run);
  const { method, ...others } = manifest.recipe;
  // what embeds needs no method: that of a run may be known only to the program that trained it
  const known = new Set(knownMethods().map(({ name }) => name));
  const isKnown = partsOf(method).every(({ kind }) => known.has(kind));
  const schema = manifest.onnx ? onnxRecipeSchema : recipeSchema;
  const recipe = schema.safeParse(isKnown ? manifest.recipe : others);
  if (!recipe.success) throw new FileError(path, `its recipe is damaged: ${z.prettifyError(recipe.error)}`);
  return { ...manifest, recipe: isKnown ? recipe.data : { ...recipe.data, method } };
}

/** The manifest of a finished run whose files are as it says. @throws UserError if it has no projection to the old space */
export function openRun(run: string, space: Space): RunManifest {
  const manifest = readRunManifest(run);
  if (space === 'old' && !manifest.recipe.projection)
    throw new UserError(`${manifest.name} has no projection: its own embeddings are in the old space already`, {
      hint: optionHint('leave --space out'),
    });
  runArtifact.verify(run, manifest);
  return manifest;
}

/** @throws FileError if the run holds an ONNX model, which has no weights that libtorch could load */
export function requireBackbone(run: string, manifest: RunManifest): RunManifest {
  if (!manifest.onnx) return manifest;
  throw new FileError(run, 'holds an ONNX model, which only embeds: wanted a backbone of mixbct', [
    'its embeddings serve as the old ones: mixbct extract',
    'a PyTorch or safetensors file of its weights can be trained: mixbct import-model',
  ]);
}

/**
 * Loads the backbone of a finished run, and its projection for the `old` space.
 * @throws FileError if the run is unfinished or its model was changed since, or is an ONNX model; UserError if it has no
 * projection.
 */
export function loadModel(run: string, { space = 'own' }: { readonly space?: Space } = {}): LoadedModel {
  const manifest = requireBackbone(run, openRun(run, space));
  const { recipe } = manifest;
  const loaded = (path: string, module: Module): Module => {
    scope(() => loadStateDict(path, readSafetensors(path).tensors, module.state()));
    return module;
  };
  const backbone = loaded(runFiles(run).model, backboneOf(networkIn(run, recipe.network), new Rng(0)));
  const projection = space === 'old' ? loaded(runFiles(run).projection, projectionOf(recipe, new Rng(0))) : null;
  const dispose = (): void => {
    backbone.dispose();
    projection?.dispose();
  };
  const trainedClassKeys = readClassKeys(trainedClassesPath(run));
  return { manifest, backbone, projection, trainedClassKeys, dispose };
}
