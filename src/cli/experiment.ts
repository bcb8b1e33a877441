import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { readYaml } from '../base/document.ts';
import { UserError } from '../base/errors.ts';
import { applySettings, describeIssues } from '../base/settings.ts';
import { suggestion } from '../base/suggestion.ts';
import { ownOrShipped } from '../base/version.ts';
import { glyphSetNames } from '../data/glyphs/names.ts';
import { parseRecipe } from '../runs/load-recipe.ts';

const reference = z.string().min(1).describe('an earlier stage (id, or id.part), or a path');
const datasetReference = reference.describe(
  'a dataset: an earlier stage (get, or hold-out.train, split.first, …), or a path',
);

/** One schema for each kind of stage; `do` tells which. */
const stageSchema = z.discriminatedUnion('do', [
  z.strictObject({
    do: z.literal('get'),
    set: z.enum(glyphSetNames),
    side: z.int().min(8).max(512).default(32),
    levels: z.union([z.literal(1), z.literal(2)]).default(1),
  }),
  z.strictObject({
    do: z.literal('hold-out'),
    of: datasetReference,
    classes: z.int().positive().describe('parts: eval, train'),
  }),
  z.strictObject({ do: z.literal('sample'), of: datasetReference, perClass: z.int().positive() }),
  z.strictObject({
    do: z.literal('split'),
    of: datasetReference,
    by: z.enum(['class', 'data']),
    ratio: z.number().gt(0).lt(1).default(0.3).describe('parts: first, second'),
  }),
  z.strictObject({
    do: z.literal('train'),
    on: datasetReference,
    recipe: z
      .union([z.string(), z.record(z.string(), z.unknown())])
      .describe('a recipe, or the path of one beside this file; its seed is the experiment’s'),
    old: z
      .strictObject({
        features: reference.optional(),
        credible: reference.optional(),
        prototypes: reference.optional(),
        boundaries: reference.optional(),
      })
      .default({}),
  }),
  z.strictObject({
    do: z.literal('extract'),
    model: reference,
    of: datasetReference,
    flip: z.enum(['none', 'mean', 'random']).default('none'),
    space: z.enum(['own', 'old']).default('own').describe('old: through the projection of the recipe'),
  }),
  z.strictObject({
    do: z.literal('denoise'),
    features: reference,
    keep: z.number().gt(0).max(1).default(0.9),
    columnNormalize: z.boolean().default(true),
    rule: z.enum(['distance', 'entropy']).default('distance'),
  }),
  z.strictObject({ do: z.literal('average'), features: reference }),
  z.strictObject({ do: z.literal('boundaries'), features: reference }),
  z.strictObject({
    do: z.literal('evaluate'),
    old: reference,
    oracle: reference.optional(),
    new: z
      .record(z.string(), z.union([reference, z.strictObject({ own: reference, old: reference })]))
      .describe('features of each new model; of one with a projection, in its own and in the old space'),
    impostors: z.int().positive().optional(),
    resamples: z.int().positive().optional(),
    trial: z.boolean().optional().describe('no verdict: the run only shows that every stage works'),
  }),
]);
export type Stage = z.infer<typeof stageSchema>;

export const experimentSchema = z.strictObject({
  title: z.string().min(1),
  extends: z.string().optional().describe('another experiment beside this file, whose settings this one changes'),
  seed: z.int().min(0).default(0),
  preset: z.enum(['default', 'reference']).default('default').describe('of every recipe that names none itself'),
  aliases: z
    .record(z.string(), reference)
    .default({})
    .describe('other names for stages or paths; the name of a stage replaces it'),
  stages: z.record(z.string().regex(/^[a-z][a-z0-9-]*$/, 'wanted small letters, digits and hyphens'), stageSchema),
});
export type Experiment = z.infer<typeof experimentSchema>;

/** Parts of the stages that make more than one thing. */
const parts: Partial<Record<Stage['do'], readonly string[]>> = {
  'hold-out': ['eval', 'train'],
  split: ['first', 'second'],
};

/**
 * Reads an experiment file; recipes in files of their own are read in, and every recipe takes the experiment's seed.
 * @throws UserError listing every problem of the file, or of a recipe in it, before anything is run.
 */
export function loadExperiment(given: string, settings: readonly string[] = []): Experiment {
  const path = ownOrShipped(given);
  const raw = applySettings(readExtended(path), settings);
  const result = experimentSchema.safeParse(raw);
  if (!result.success)
    throw new UserError(`${path}: ${describeIssues(result.error, experimentSchema)}`, {
      hint: 'its schema: mixbct schema experiment',
    });
  const experiment = result.data;
  const before = new Set<string>();
  for (const [id, stage] of Object.entries(experiment.stages)) {
    for (const used of referencesOf(stage))
      requireKnown(path, id, targetOf(experiment, used), before, Object.keys(experiment.stages));
    if (stage.do === 'train') {
      const recipe = typeof stage.recipe === 'string' ? readYaml(resolve(dirname(path), stage.recipe)) : stage.recipe;
      const given = { name: id, preset: experiment.preset, ...(recipe as object), seed: experiment.seed };
      stage.recipe = parseRecipe(given, `${path}: stage ${id}`);
    }
    for (const name of [id, ...(parts[stage.do] ?? []).map((part) => `${id}.${part}`)]) before.add(name);
  }
  return experiment;
}

/** A file's content over that of the file it extends: mappings are merged, everything else is replaced. */
function readExtended(path: string, above: readonly string[] = []): unknown {
  const raw = readYaml(path) as Record<string, unknown> | null;
  const base = raw?.['extends'];
  if (typeof base !== 'string') return raw;
  const from = resolve(dirname(path), base);
  if (above.includes(from)) throw new UserError(`${path}: extends ${base}, which extends this file`);
  return merge(readExtended(from, [...above, resolve(path)]), raw);
}

const isMapping = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

function merge(base: unknown, over: unknown): unknown {
  if (!isMapping(base) || !isMapping(over)) return over;
  const keys = new Set([...Object.keys(base), ...Object.keys(over)]);
  return Object.fromEntries(
    [...keys].map((key) => [
      key,
      Object.hasOwn(over, key) ? merge(Object.hasOwn(base, key) ? base[key] : undefined, over[key]) : base[key],
    ]),
  );
}

/** What a reference means: an alias stands for another one. */
export const targetOf = ({ aliases }: Experiment, reference: string): string =>
  Object.hasOwn(aliases, reference) ? aliases[reference]! : reference;

/** The stages that `wanted` needs, itself included. @throws UserError if there is no such stage. */
export function neededFor(experiment: Experiment, wanted: readonly string[]): ReadonlySet<string> {
  const needed = new Set<string>();
  const visit = (reference: string): void => {
    const id = targetOf(experiment, reference).split('.')[0]!;
    const stage = Object.hasOwn(experiment.stages, id) && experiment.stages[id];
    if (!stage || needed.has(id)) return;
    needed.add(id);
    referencesOf(stage).forEach(visit);
  };
  for (const id of wanted) {
    if (!Object.hasOwn(experiment.stages, id))
      throw new UserError(`${id}: no such stage${suggestion(id, Object.keys(experiment.stages))}`);
    visit(id);
  }
  return needed;
}

/** What a stage takes from others. */
export function referencesOf(stage: Stage): string[] {
  const values = (() => {
    switch (stage.do) {
      case 'get': return [];
      case 'hold-out':
      case 'sample':
      case 'split': return [stage.of];
      case 'train': return [stage.on, ...Object.values(stage.old)];
      case 'extract': return [stage.model, stage.of];
      case 'denoise':
      case 'average':
      case 'boundaries': return [stage.features];
      case 'evaluate': return [stage.old, stage.oracle, ...Object.values(stage.new).flatMap((at) => typeof at === 'string' ? [at] : [at.own, at.old])];
    }
  })(); // biome-ignore format: a table
  return values.filter((value) => value !== undefined);
}

/** A word without a slash is meant as a stage: one that comes later, or does not exist, is a mistake. */
function requireKnown(
  path: string,
  id: string,
  used: string,
  before: ReadonlySet<string>,
  all: readonly string[],
): void {
  if (before.has(used) || used.includes('/')) return;
  const later = all.includes(used.split('.')[0]!);
  throw new UserError(
    `${path}: stage ${id} uses ${used}, ${later ? 'which comes later or has no such part' : `which is no stage${suggestion(used, [...before])}`}`,
    {
      hint: 'stages run in the order of the file; a path has a slash in it (./features)',
    },
  );
}
