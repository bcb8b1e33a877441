import { basename } from 'node:path';
import { fileDigest } from '../artifacts/digest.ts';
import { requireDiskSpace } from '../artifacts/durable-write.ts';
import { FileError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { backboneNames } from '../models/index.ts';
import { loadStateDict, type StateDict, stateBytes, stateMismatchError, stateMismatches } from '../nn/state-dict.ts';
import {
  buildInfo,
  finiteMask,
  readPytorchState,
  readSafetensors,
  scope,
  tensor,
  toUint8,
  zeros,
} from '../torch/index.ts';
import { parseRecipe } from './load-recipe.ts';
import { backboneOf } from './network.ts';
import { networkSchema, type Recipe } from './recipe.ts';
import { type RunManifest, runArtifact, runFiles } from './run-artifact.ts';
import { writeBackbone } from './write-model.ts';

/** The network options that a checkpoint does not hold. */
export type ImportedNetwork = {
  /** A backbone's name. */
  readonly network: string;
  /** Height and width of the input in pixels. */
  readonly side?: number;
  readonly width?: number;
};

/** Prefixes that wrappers put before names: data-parallel training, torch.compile, an outer module; in any order. */
const WRAPPERS = /^(?:(?:module|_orig_mod|model|backbone|encoder|network|net)\.)*/;
/** The batch counter of a batch norm, which nothing reads and old checkpoints lack. */
const UNREAD = '.num_batches_tracked';
/** Width of the smallest backbone, which is built only for its names. */
const SMALLEST = 1 / 64;

/**
 * Makes a finished run from a checkpoint that was trained elsewhere: a PyTorch file or a .safetensors file. D comes from the
 * checkpoint. Entries outside the backbone (a classifier, a discriminator) are skipped and named in the manifest. All numbers
 * become float32.
 *
 * Source: methods.md 3.2 and 6.2, repaired for every backbone (D-17).
 * @throws FileError if the file is none of these, does not fit the network, or holds non-finite numbers.
 */
export async function importModel(
  path: string,
  { network, side = 112, width = 1 }: ImportedNetwork,
  out: string,
  { force = false }: { readonly force?: boolean } = {},
): Promise<RunManifest> {
  const asked = `--network ${network} --side ${side} --width ${width}`;
  const recipeOf = (embeddingDim: number): Recipe =>
    parseRecipe({ network: { name: network, embeddingDim, inputSide: side, width } }, asked);
  recipeOf(1); // checks the options before anything is read or written
  return await runArtifact.write(out, { force, inputs: [path] }, async (folder) => {
    const opened = await openState(path);
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
      const recipe = recipeOf(dimensionOf(state, names, refuse));
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
        name: basename(out),
        model: fileDigest(runFiles(folder).model),
        recipe,
        dataset: null,
        imported: {
          from: path,
          digest: fileDigest(path),
          leftOut: [...leftOut, ...shadowed],
          prefix,
          skipped: [...opened.skipped],
        },
        old: 'none',
        processes: 1,
        steps: 0,
        seconds: 0,
        dataWaitShare: 0,
        badImages: 0,
        counts: {},
        preset: recipe.preset,
        differences: [],
        libtorch: buildInfo().libtorch,
      };
    });
  });
}

/** Reads the file; `tensors` then makes its tensors inside the caller's scope, which cannot wait. */
async function openState(path: string): Promise<{ tensors(): StateDict; readonly skipped: readonly string[] }> {
  if (path.endsWith('.safetensors')) return { tensors: () => readSafetensors(path).tensors, skipped: [] };
  const { tensors, skipped } = await readPytorchState(path);
  return {
    tensors: () => new Map([...tensors].map(([name, { bytes, ...about }]) => [name, tensor(bytes, about)])),
    skipped,
  };
}

/**
 * Removes the wrapper prefix from the names. If no prefix makes all names fit, the one that fits most names is taken, so that
 * the message names what is missing.
 * @throws FileError if the file holds the backbone under several prefixes.
 */
function withoutPrefix(
  path: string,
  tensors: StateDict,
  names: readonly string[],
): { tensors: StateDict; prefix: string; shadowed: readonly string[] } {
  const wanted = names.filter((name) => !name.endsWith(UNREAD));
  const fits = (prefix: string): number => wanted.filter((name) => tensors.has(prefix + name)).length;
  const prefixes = [...new Set([...tensors.keys()].map((name) => WRAPPERS.exec(name)![0]).flatMap(stackOf))];
  const ranked = prefixes.map((prefix) => ({ prefix, fit: fits(prefix) })).sort((a, b) => b.fit - a.fit);
  const whole = ranked.filter(({ fit }) => fit === wanted.length);
  if (whole.length > 1)
    throw new FileError(
      path,
      `holds this network several times, under ${whole.map(({ prefix }) => prefix || 'no prefix').join(' and ')}`,
      'in Python, save the one that is meant on its own: torch.save(model.state_dict(), "model.pt")',
    );
  const prefix = whole[0]?.prefix ?? (ranked[0] && ranked[0].fit > 0 ? ranked[0].prefix : '');
  if (prefix === '') return { tensors, prefix, shadowed: [] };
  const bare = (name: string): string => (name.startsWith(prefix) ? name.slice(prefix.length) : name);
  const own = new Set([...tensors.keys()].filter((name) => name.startsWith(prefix)).map(bare));
  // an entry without the prefix but of the same name is another one
  const shadowed = [...tensors.keys()].filter((name) => !name.startsWith(prefix) && own.has(name));
  const kept = [...tensors].filter(([name]) => !shadowed.includes(name));
  return { tensors: new Map(kept.map(([name, value]) => [bare(name), value])), prefix, shadowed };
}

/** `a.b.` → '', `a.`, `a.b.`: a name of the backbone may begin like a wrapper. */
function stackOf(wrappers: string): string[] {
  const parts = wrappers.split('.').slice(0, -1);
  return Array.from({ length: parts.length + 1 }, (_, i) =>
    parts
      .slice(0, i)
      .map((part) => `${part}.`)
      .join(''),
  );
}

/** Adds a zero for each missing batch counter, as PyTorch does for checkpoints before version 0.4. */
function withUnread(tensors: StateDict, names: readonly string[]): StateDict {
  const lacking = names.filter((name) => name.endsWith(UNREAD) && !tensors.has(name));
  return new Map([...tensors, ...lacking.map((name) => [name, zeros([], { dtype: 'int64', device: 'cpu' })] as const)]);
}

const partOf = (name: string): string => name.split('.', 1)[0]!;

/** Drops the entries of parts that the backbone does not have. */
function withoutTraining(tensors: StateDict, names: readonly string[]): { state: StateDict; leftOut: string[] } {
  const parts = new Set(names.map(partOf));
  return {
    state: new Map([...tensors].filter(([name]) => parts.has(partOf(name)))),
    leftOut: [...tensors.keys()].filter((name) => !parts.has(partOf(name))),
  };
}

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

function requireFinite(path: string, state: StateDict): void {
  for (const [name, value] of state)
    if (toUint8(finiteMask(value)).includes(0))
      throw new FileError(path, `${name} holds numbers that are not finite`, 'this model has diverged: use another');
}
