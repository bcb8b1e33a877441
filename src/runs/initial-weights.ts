import { existsSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { digestOf, fileDigest } from '../artifacts/digest.ts';
import { FileError, UserError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import { type NamedTensors, type StateDict, stateMismatchError, stateMismatches } from '../nn/state-dict.ts';
import { copy_, noGrad, readSafetensors, scope, type Tensor } from '../torch/index.ts';
import { readRunManifest, requireBackbone } from './load-model.ts';
import type { Recipe } from './recipe.ts';
import { type RunFields, runArtifact, runFiles } from './run-artifact.ts';
import { openWeights, requireFinite, withoutPrefix, withoutTraining, withUnread } from './weights-file.ts';

/** What a run's manifest records of the weights that it began from. */
export type InitRecord = NonNullable<RunFields['init']>;

/** The weights that a training begins from. */
export type InitialWeights = {
  /** Of all that is taken. A run resumes only with the same. */
  readonly digest: string;
  /**
   * Copies them into a session's state, whose names begin with `backbone.`, `projection.` and `head.`.
   * @throws FileError if they do not fit, with `partial` if none fits
   */
  copyInto(state: NamedTensors): InitRecord;
};

/** One part of the model in the file that it is taken from. */
type Source = {
  readonly path: string;
  /** Makes the tensors in the caller's scope. `names` are those of the part. */
  tensors(names: readonly string[]): { readonly state: StateDict; readonly unused: readonly string[] };
};

type Init = NonNullable<Recipe['init']>;

/**
 * Opens what a recipe begins from; null if that is nothing.
 * @throws FileError if it is no run and no file of weights; UserError if it lacks a part, as every run lacks the angles of a rotation
 */
export async function openInitialWeights({ init, projection }: Recipe): Promise<InitialWeights | null> {
  if (!init) return null;
  const { from, partial } = init;
  const digest = digestOfInit(init);
  if (projection?.orthonormal && init.parts.includes('projection'))
    throw new UserError(
      `${from}: init.parts names the projection, and an orthonormal projection learns angles: a finished run has its rows alone`,
      { hint: 'leave projection out of init.parts' },
    );
  const sources = await sourcesOf(init);
  return {
    digest,
    copyInto: (state) => {
      const all = new Map(state);
      const copied = Object.entries(sources).map(([part, source]) => copyPart(part, source, all, partial));
      const [taken, fresh, unused] = (['taken', 'fresh', 'unused'] as const).map((list) =>
        copied.flatMap((one) => one[list]),
      ) as [string[], string[], string[]];
      return { from, digest, taken, fresh, unused };
    },
  };
}

/** The digest of what a recipe begins from. @throws FileError if it is not there, or no finished run */
export function digestOfInit({ from, parts }: Init): string {
  if (!existsSync(from))
    throw new FileError(
      from,
      'no such run or file, and init.from names it',
      'its place is seen from the working folder, or from the recipe’s',
    );
  if (!isRun(from)) return fileDigest(from);
  const { model, weights = model } = requireBackbone(from, readRunManifest(from));
  const others = parts.filter((part) => part !== 'backbone').sort();
  return others.length === 0 ? weights : digestOf(weights, ...others.map((part) => fileDigest(partFile(from, part))));
}

const isRun = (path: string): boolean => statSync(path).isDirectory();

/** The file of a part in a run. @throws UserError if the run has none */
function partFile(run: string, part: Init['parts'][number]): string {
  const file = runFiles(run)[part === 'backbone' ? 'model' : part];
  if (existsSync(file)) return file;
  throw new UserError(`${run}: the run has no ${part}, and init.parts names it`, {
    hint: `leave ${part} out of init.parts`,
  });
}

async function sourcesOf({ from, parts }: Init): Promise<Readonly<Record<string, Source>>> {
  if (isRun(from)) {
    runArtifact.verify(from, readRunManifest(from));
    const source = (path: string): Source => ({
      path,
      tensors: () => ({ state: readSafetensors(path).tensors, unused: [] }),
    });
    return Object.fromEntries(parts.map((part) => [part, source(partFile(from, part))]));
  }
  if (parts.some((part) => part !== 'backbone'))
    throw new UserError(`${from}: a file holds a backbone, and init.parts is ${parts.join(', ')}`, {
      hint: 'leave init.parts out',
    });
  const file = await openWeights(from);
  const tensors: Source['tensors'] = (names) => {
    const { tensors, shadowed } = withoutPrefix(from, file.tensors(), names);
    const { state, leftOut } = withoutTraining(tensors, names);
    return { state, unused: [...leftOut, ...shadowed, ...file.skipped] };
  };
  return { backbone: { path: from, tensors } };
}

function copyPart(part: string, { path, tensors }: Source, all: ReadonlyMap<string, Tensor>, partial: boolean) {
  return scope(() => {
    const prefix = `${part}.`;
    const into = new Map(
      [...all].flatMap(([name, value]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [])) as [
        string,
        Tensor,
      ][],
    );
    const { state, unused } = tensors([...into.keys()]);
    const complete = withUnread(state, [...into.keys()]);
    const problems = stateMismatches(complete, into);
    const fits = ([name, value]: [string, Tensor]): boolean => String(state.get(name)?.shape) === String(value.shape);
    const taken = [...into].filter(fits);
    if ((problems.length > 0 && !partial) || taken.length === 0)
      throw stateMismatchError(
        path,
        problems,
        partial ? `nothing of its ${part} fits: is it another network?` : 'init.partial: true takes what fits',
      );
    requireFinite(path, new Map(taken.map(([name]) => [name, state.get(name)!])));
    noGrad(() => {
      for (const [name, value] of taken) copy_(value, state.get(name)!);
    });
    const names = new Set(taken.map(([name]) => name));
    const others = (entries: Iterable<string>): string[] =>
      [...entries].filter((name) => !names.has(name)).map((name) => prefix + name);
    return {
      taken: taken.map(([name]) => prefix + name),
      fresh: others([...into.keys()].filter((name) => state.has(name) || !complete.has(name))),
      unused: [...others(state.keys()), ...unused.map((name) => prefix + name)],
    };
  });
}

/** Names that a line of the log lists. */
const MOST_LISTED = 8;

/** What was taken, in a line of the log. */
export function describeInit({ from, taken, fresh, unused }: InitRecord): string {
  const list = (names: readonly string[]): string =>
    names.length > MOST_LISTED
      ? `${names.slice(0, MOST_LISTED).join(', ')} and ${names.length - MOST_LISTED} more`
      : names.join(', ');
  return [
    `begins from ${from}: ${formatCount(taken.length, 'tensor')} of ${taken.length + fresh.length} taken`,
    ...(fresh.length > 0 ? [`drawn at random: ${list(fresh)}`] : []),
    ...(unused.length > 0 ? [`not used of ${basename(from)}: ${list(unused)}`] : []),
  ].join('; ');
}
