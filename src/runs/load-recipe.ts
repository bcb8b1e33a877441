import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { FileError, UserError } from '../base/errors.ts';
import { applySettings, describeIssues } from '../base/settings.ts';
import { resolveOwnOrPackaged, shippedFiles } from '../base/version.ts';
import { readYaml } from '../base/yaml.ts';
import { methodNamed, partsOf } from '../methods/index.ts';
import { type BackboneName, backbones, type OwnOption, ownOptions } from '../models/index.ts';
import { SCRIPTED } from '../models/scripted.ts';
import { namedRecipe, suggestName } from './named-recipes.ts';
import { withReference } from './preset.ts';
import { type NetworkRecipe, type Recipe, recipeSchema } from './recipe.ts';

export type LoadRecipeOptions = {
  /** `path=value`, as `--set` takes them. */
  readonly settings?: readonly string[];
  /** Replaces the recipe's own. */
  readonly preset?: Recipe['preset'] | undefined;
  /** Where files that the recipe names are looked for, if they are not in the working folder. */
  readonly folder?: string;
};

/** Reads a recipe from a file or by a published name. @throws UserError listing every problem. */
export function loadRecipe(given: string, options: LoadRecipeOptions = {}): Recipe {
  const path = resolveOwnOrPackaged(given);
  const named = existsSync(path) ? undefined : namedRecipe(path, options.preset);
  if (!named && !existsSync(path))
    throw new FileError(
      path,
      `no such file, and no recipe of that name${suggestName(path)}`,
      `your own file, one of ${shippedFiles('recipes').join(', ')}, or a name that mixbct recipes lists`,
    );
  if (!named) return parseRecipe(readYaml(path), path, { folder: dirname(path), ...options });
  const recipe = parseRecipe(named, path, options);
  // the settings may choose the preset, too
  const isReference = options.preset === undefined && recipe.preset === 'reference';
  return isReference ? parseRecipe(namedRecipe(path, 'reference'), path, options) : recipe;
}

export function parseRecipe(
  raw: unknown,
  where: string,
  { settings = [], preset, folder = '.' }: LoadRecipeOptions = {},
): Recipe {
  const set = applySettings(raw, settings) as Record<string, unknown>;
  const wanted = preset === undefined ? set : { ...set, preset };
  const recipe = check(wanted, where);
  const complete = recipe.preset === 'reference' ? check(withReference(wanted, recipe), where) : recipe;
  return withFilesIn(complete, folder);
}

/** Names the files of a recipe as they are seen from the working folder, where they are in it or in `folder`. */
function withFilesIn(recipe: Recipe, folder: string): Recipe {
  const { init, network } = recipe;
  const seen = (path: string): string => {
    const beside = isAbsolute(path) || existsSync(path) ? path : join(folder, path);
    return existsSync(beside) ? beside : path;
  };
  return {
    ...recipe,
    network: { ...network, ...(network.file !== undefined && { file: seen(network.file) }) },
    ...(init && { init: { ...init, from: seen(init.from) } }),
  };
}

/** @throws UserError if a scripted network lacks its file or is to share batch statistics, or another's side does not fit */
function requireNetworkFits({ name, file, inputSide }: NetworkRecipe, syncBatchNorm: boolean, where: string): void {
  if (name !== SCRIPTED) {
    if (inputSide % 16 !== 0)
      throw new UserError(
        `${where}: one problem\n  network.inputSide: ${inputSide} is no multiple of 16, and ${name} takes these`,
      );
    return;
  }
  if (file === undefined)
    throw new UserError(`${where}: network ${SCRIPTED} needs network.file`, {
      hint: 'in Python: torch.jit.script(model.eval()).save("backbone.pt")',
    });
  if (syncBatchNorm)
    throw new UserError(`${where}: the batch norms of a scripted network use the images of one process alone`, {
      hint: 'leave syncBatchNorm out',
    });
}

/** @throws UserError if an orthonormal projection leads to more dimensions than there are */
function requireRotationFits({ network: { embeddingDim }, projection }: Recipe, where: string): void {
  if (!projection?.orthonormal || projection.dim <= embeddingDim) return;
  throw new UserError(
    `${where}: an orthonormal projection to ${projection.dim} of ${embeddingDim} dimensions: it is a slice of a rotation`,
    { hint: `set network.embeddingDim to ${projection.dim} or more` },
  );
}

/** @throws UserError if old embeddings would have an effect on the head alone, and the head does not learn */
function requireHeadLearns({ head, method, projection }: Recipe, where: string): void {
  if (head.kind !== 'simplex') return;
  const part = partsOf(method).find(({ kind }) => kind === 'mixbct' || (kind === 'joint' && !projection));
  if (!part) return;
  throw new UserError(`${where}: method ${part.kind} teaches the head, and a simplex head does not learn`, {
    hint: [
      'take a head that does, such as head: { kind: arcface }',
      ...(part.kind === 'joint' ? ['give the recipe a projection, which learns'] : []),
    ],
  });
}

function check(raw: unknown, where: string): Recipe {
  const result = recipeSchema.safeParse(raw);
  if (!result.success)
    throw new UserError(`${where}: ${describeIssues(result.error, recipeSchema)}`, {
      hint: 'every option with its default: mixbct schema recipe',
    });
  const { method, projection, network, batchSize, accumulate } = result.data;
  if (batchSize % accumulate !== 0)
    throw new UserError(`${where}: batchSize ${batchSize} is no multiple of accumulate ${accumulate}`, {
      hint: 'the parts of a batch must be of one size',
    });
  const { epochs, schedule } = result.data;
  if (schedule.warmupEpochs > epochs)
    throw new UserError(
      `${where}: schedule.warmupEpochs ${schedule.warmupEpochs} of ${epochs} epochs: the rate would never fall`,
      {
        hint: 'warm up for no longer than the training takes',
      },
    );
  requireNetworkFits(network, result.data.syncBatchNorm, where);
  const takes: readonly OwnOption[] = network.name === SCRIPTED ? [] : backbones[network.name as BackboneName].takes;
  const idle: string[] = ownOptions.filter((option) => network[option] && !takes.includes(option));
  if (network.name === SCRIPTED) {
    if (network.width !== 1) idle.push('width');
    if (network.checkpointEvery) idle.push('checkpointEvery');
  } else if (network.file !== undefined) idle.push('file');
  if (idle.length > 0)
    throw new UserError(`${where}: ${network.name} has no ${idle.join(', ')}`, {
      hint: `leave ${idle.map((option) => `network.${option}`).join(' and ')} out`,
    });
  const fixed = partsOf(method).find(({ kind }) => !methodNamed(kind).projects);
  if (projection && fixed)
    throw new UserError(`${where}: method ${fixed.kind} cannot project: it needs old and new embeddings in one space`, {
      hint: 'leave projection out and set network.embeddingDim to that of the old embeddings',
    });
  requireRotationFits(result.data, where);
  requireHeadLearns(result.data, where);
  return result.data;
}
