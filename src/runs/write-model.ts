import { mkdirSync } from 'node:fs';
import { basename } from 'node:path';
import { fileDigest } from '../artifacts/digest.ts';
import { writeAtomic } from '../artifacts/durable-write.ts';
import { readRegularFile } from '../base/regular-file.ts';
import { classKeysOf, type Dataset, referenceTo } from '../data/index.ts';
import type { EmbeddingModules } from '../encoders/index.ts';
import { trainedClassesPath, writeClassKeys } from '../features/index.ts';
import type { Module } from '../nn/index.ts';
import type { NamedTensors } from '../nn/state-dict.ts';
import { buildInfo, scope, writeSafetensors } from '../torch/index.ts';
import { identityOf } from './model-identity.ts';
import { projectionState } from './network.ts';
import { differencesFromReference } from './preset.ts';
import type { NetworkRecipe } from './recipe.ts';
import { type RunManifest, runArtifact, runFiles } from './run-artifact.ts';

/** What a finished training writes. */
export type TrainedRun = Pick<
  RunManifest,
  'recipe' | 'init' | 'old' | 'processes' | 'steps' | 'seconds' | 'dataWaitShare' | 'badImages' | 'counts'
> & {
  readonly modules: EmbeddingModules;
  /** The head's state, whole. */
  readonly head: NamedTensors;
  readonly dataset: Dataset;
  /** Paths of its inputs. */
  readonly inputs: readonly (string | undefined)[];
};

/** Writes the weights of a backbone. They name the file of a scripted network by its digest, wherever it stands. */
export function writeBackbone(out: string, backbone: Module, network: NetworkRecipe): void {
  const { script } = runFiles(out);
  const named = network.file === undefined ? network : { ...network, file: fileDigest(script) };
  writeSafetensors(runFiles(out).model, backbone.state(), { network: JSON.stringify(named) });
}

/** Copies the file of a scripted network, so that the run stands alone. */
export function copyScript(out: string, { file }: NetworkRecipe): void {
  if (file !== undefined) writeAtomic(runFiles(out).script, readRegularFile(file));
}

/** Writes backbone and head, and returns the manifest that makes the run a finished one. */
export function writeModel(out: string, { modules, head, dataset, inputs, ...outcome }: TrainedRun): RunManifest {
  mkdirSync(out, { recursive: true });
  const files = runFiles(out);
  writeBackbone(out, modules.backbone, outcome.recipe.network);
  if (modules.projection) {
    const { projection } = modules;
    scope(() => writeSafetensors(files.projection, projectionState(projection)));
  }
  writeClassKeys(trainedClassesPath(out), classKeysOf(dataset));
  writeSafetensors(files.head, head, { head: JSON.stringify(outcome.recipe.head) });
  const projection = modules.projection ? fileDigest(files.projection) : undefined;
  const fields = {
    name: outcome.recipe.name ?? basename(out),
    ...identityOf(fileDigest(files.model), { input: outcome.recipe.input, projection }),
    projection,
    dataset: referenceTo(dataset),
    imported: null,
    ...(outcome.recipe.network.file !== undefined && { script: fileDigest(files.script) }),
    ...outcome,
    preset: outcome.recipe.preset,
    differences: differencesFromReference(outcome.recipe),
    libtorch: buildInfo().libtorch,
  };
  return runArtifact.manifest(out, fields, inputs);
}
