import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { UserError } from '../base/errors.ts';
import { glyphSources } from '../data/index.ts';
import { parseRecipe, readYaml } from '../train/recipe.ts';
import { applySettings, describeIssues, suggestion } from '../train/settings.ts';

const reference = z.string().min(1).describe('an earlier stage (id, or id.part), or a path');
const datasetReference = reference.describe(
  'a dataset: an earlier stage (get, or hold-out.train, split.first, …), or a path',
);

/** One schema for each kind of stage; `do` tells which. */
const stageSchema = z.discriminatedUnion('do', [
  z.strictObject({
    do: z.literal('get'),
    set: z.enum(Object.keys(glyphSources) as [keyof typeof glyphSources]),
    side: z.int().min(8).max(512).default(32),
    levels: z.union([z.literal(1), z.literal(2)]).default(1),
  }),
  z.strictObject({
    do: z.literal('hold-out'),
    of: datasetReference,
    classes: z.int().positive().describe('parts: eval, train'),
  }),
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
      })
      .default({}),
  }),
  z.strictObject({
    do: z.literal('extract'),
    model: reference,
    of: datasetReference,
    flip: z.enum(['none', 'mean']).default('none'),
  }),
  z.strictObject({
    do: z.literal('denoise'),
    features: reference,
    keep: z.number().gt(0).max(1).default(0.9),
    columnNormalize: z.boolean().default(true),
  }),
  z.strictObject({ do: z.literal('average'), features: reference }),
  z.strictObject({
    do: z.literal('evaluate'),
    old: reference,
    oracle: reference.optional(),
    new: z.record(z.string(), reference),
    impostors: z.int().positive().optional(),
    resamples: z.int().positive().optional(),
  }),
]);
export type Stage = z.infer<typeof stageSchema>;

export const experimentSchema = z.strictObject({
  title: z.string().min(1),
  seed: z.int().min(0).default(0),
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
export function loadExperiment(path: string, settings: readonly string[] = []): Experiment {
  const raw = applySettings(readYaml(path), settings);
  const result = experimentSchema.safeParse(raw);
  if (!result.success)
    throw new UserError(`${path}: ${describeIssues(result.error, experimentSchema)}`, {
      hint: 'its schema: mixbct schema experiment',
    });
  const experiment = result.data;
  const before = new Set<string>();
  for (const [id, stage] of Object.entries(experiment.stages)) {
    for (const used of referencesOf(stage)) requireKnown(path, id, used, before, Object.keys(experiment.stages));
    if (stage.do === 'train') {
      const recipe = typeof stage.recipe === 'string' ? readYaml(resolve(dirname(path), stage.recipe)) : stage.recipe;
      stage.recipe = parseRecipe({ name: id, ...(recipe as object), seed: experiment.seed }, `${path}: stage ${id}`);
    }
    for (const name of [id, ...(parts[stage.do] ?? []).map((part) => `${id}.${part}`)]) before.add(name);
  }
  return experiment;
}

/** What a stage takes from others. */
export function referencesOf(stage: Stage): string[] {
  const values = (() => {
    switch (stage.do) {
      case 'get': return [];
      case 'hold-out':
      case 'split': return [stage.of];
      case 'train': return [stage.on, ...Object.values(stage.old)];
      case 'extract': return [stage.model, stage.of];
      case 'denoise':
      case 'average': return [stage.features];
      case 'evaluate': return [stage.old, stage.oracle, ...Object.values(stage.new)];
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
