import { basename } from 'node:path';
import { fileDigest } from '../artifacts/digest.ts';
import { requireDiskSpace } from '../artifacts/durable-write.ts';
import { FileError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import type { InputDeclaration } from '../data/model-input.ts';
import { backboneNames } from '../models/index.ts';
import { loadStateDict, type StateDict, stateBytes, stateMismatchError, stateMismatches } from '../nn/state-dict.ts';
import { buildInfo, scope } from '../torch/index.ts';
import { inputOfWeights } from './exported-input.ts';
import { parseRecipe } from './load-recipe.ts';
import { identityOf } from './model-identity.ts';
import { backboneOf } from './network.ts';
import { networkSchema, type Recipe } from './recipe.ts';
import { type RunManifest, runArtifact, runFiles } from './run-artifact.ts';
import { openWeights, requireFinite, withoutPrefix, withoutTraining, withUnread } from './weights-file.ts';
import { writeBackbone } from './write-model.ts';

/** The network options that a checkpoint does not hold. */
export type ImportedNetwork = {
  /** A backbone's name. */
  readonly network: string;
  /** Height and width of the input in pixels. */
  readonly side?: number;
  readonly width?: number;
  /** How pictures become its input; default: as `mixbct export` wrote into the file. */
  readonly input?: InputDeclaration | undefined;
  /** Default: the name of the run's folder. */
  readonly name?: string | undefined;
};

/** Width of the smallest backbone, which is built only for its names. */
const SMALLEST = 1 / 64;

/**
 * Makes a finished run from a checkpoint that was trained elsewhere: a PyTorch file or a .safetensors file. D comes from the
 * checkpoint. Entries outside the backbone (a classifier, a discriminator) are skipped and named in the manifest. All numbers
 * become float32. What `mixbct export` wrote of the input into the file is taken over.
 *
 * Source: methods.md 3.2 and 6.2, repaired for every backbone (D-17).
 * @throws FileError if the file is none of these, does not fit the network, holds non-finite numbers, was exported with the
 * projection to an old space, or says that pixels are mapped in another way than `input`.
 */
export async function importModel(
  path: string,
  { network, side = 112, width = 1, input: declared, name }: ImportedNetwork,
  out: string,
  { force = false }: { readonly force?: boolean } = {},
): Promise<RunManifest> {
  const asked = `--network ${network} --side ${side} --width ${width}`;
  const recipeOf = (embeddingDim: number, input: InputDeclaration | undefined = declared): Recipe =>
    parseRecipe({ network: { name: network, embeddingDim, inputSide: side, width }, ...(input && { input }) }, asked);
  recipeOf(1); // checks the options before anything is read or written
  return await runArtifact.write(out, { force, inputs: [path] }, async (folder) => {
    const opened = await openWeights(path);
    requireOwnSpace(path, opened.metadata);
    const input = inputOfWeights(path, opened.metadata, declared);
    return scope(() => {
      const names = namesOf(network, side);
      const { tensors, prefix, shadowed } = withoutPrefix(path, opened.tensors(), names);
      const { state, leftOut } = withoutTraining(withUnread(tensors, names), names);
      const refuse = (problems: readonly string[]): never => {
        throw stateMismatchError(
          path,
          problems,
          `${asked} was asked for; ${advice(tensors, network, side)}${skippedNote(opened.skipped)}`,
        );
      };
      const recipe = recipeOf(dimensionOf(state, names, refuse), input);
      const backbone = backboneOf(recipe.network, new Rng(0));
      try {
        const problems = stateMismatches(state, backbone.state());
        if (problems.length > 0) refuse(problems);
        requireFinite(path, state);
        loadStateDict(path, state, backbone.state());
        requireDiskSpace(out, stateBytes(backbone.state()));
        writeBackbone(folder, backbone, recipe.network);
      } finally {
        backbone.dispose();
      }
      return {
        name: name ?? basename(out),
        ...identityOf(fileDigest(runFiles(folder).model), { input }),
        recipe,
        ...importedRunFields(path, { leftOut: [...leftOut, ...shadowed], prefix, skipped: [...opened.skipped] }),
      };
    });
  });
}

/** @throws FileError if the embeddings of an exported file go through a projection, which an imported backbone does not have */
function requireOwnSpace(path: string, metadata: Readonly<Record<string, string>>): void {
  if (metadata['mixbct'] === undefined || metadata['space'] !== 'old') return;
  throw new FileError(
    path,
    'was exported with the projection to the old space (projection.weight), and an imported backbone has its own space only',
    [
      'export it as ONNX, which holds the projection: mixbct export RUN --to onnx --space old --out old.onnx',
      'export it in its own space: mixbct export RUN --space own',
    ],
  );
}

/** What a run's manifest says that was not trained here. */
export const importedRunFields = (
  path: string,
  entries: Omit<NonNullable<RunManifest['imported']>, 'from' | 'digest'> = { leftOut: [], prefix: '', skipped: [] },
) => ({
  dataset: null,
  imported: { from: path, digest: fileDigest(path), ...entries },
  ...{ old: 'none', processes: 1, steps: 0, seconds: 0, dataWaitShare: 0, badImages: 0, counts: {} },
  ...{ preset: 'default', differences: [], libtorch: buildInfo().libtorch },
});

/** The names of a backbone's state, which depend neither on D nor on the width. */
function namesOf(network: string, side: number): string[] {
  const smallest = networkSchema.parse({ name: network, embeddingDim: 1, inputSide: side, width: SMALLEST });
  const backbone = backboneOf(smallest, new Rng(0));
  const names = [...backbone.state()].map(([name]) => name);
  backbone.dispose();
  return names;
}

/** D: the size of the backbone's last bias, since every backbone ends in a batch norm of the embedding (D-17). */
function dimensionOf(state: StateDict, names: readonly string[], refuse: (problems: string[]) => never): number {
  const last = names.findLast((name) => name.endsWith('.bias'))!;
  const shape = state.get(last)?.shape;
  if (shape?.length === 1 && shape[0]! > 0) return shape[0]!;
  const known = new Set(names);
  return refuse([
    ...(shape ? [`${last}: wanted [D], got [${shape}]`] : []),
    ...names.filter((name) => !state.has(name)).map((name) => `${name} is missing`),
    ...[...state.keys()].filter((name) => !known.has(name)).map((name) => `${name} is not part of this model`),
  ]);
}

function skippedNote(skipped: readonly string[]): string {
  if (skipped.length === 0) return '';
  const shown = skipped.length > 5 ? [...skipped.slice(0, 5), '…'] : skipped;
  return `; skipped, as no plain tensors: ${shown.join(', ')} (in Python, save plain ones: {k: v.float() for k, v in state.items()})`;
}

/** A hint from the names in the file. */
function advice(tensors: StateDict, network: string, side: number): string {
  const fitting = backboneNames.filter((name) => {
    const names = namesOf(name, side);
    const { state } = withoutTraining(withUnread(tensors, names), names);
    return names.length === state.size && names.every((entry) => state.has(entry));
  }) as string[];
  if (fitting.includes(network)) return 'the names fit, so give the --side and --width it was trained with';
  return fitting.length > 0
    ? `the names are those of ${fitting.join(', ')}`
    : 'the names are those of no backbone here';
}
