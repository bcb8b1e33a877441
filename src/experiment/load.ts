import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { FileError, UserError } from '../base/errors.ts';
import { applySettings, describeIssues } from '../base/settings.ts';
import { isMapping } from '../base/shape.ts';
import { didYouMean } from '../base/suggestion.ts';
import { resolveOwnOrPackaged, shippedFiles } from '../base/version.ts';
import { readYaml } from '../base/yaml.ts';
import { reference, type Stage, type StageKind } from './stage.ts';

/** The schema of experiment files whose stages are of these kinds. */
export const experimentSchema = (kinds: readonly StageKind[]) =>
  z.strictObject({
    title: z.string().min(1),
    extends: z.string().optional().describe('another experiment beside this file, whose settings this one changes'),
    seed: z.int().min(0).default(0),
    preset: z.enum(['default', 'reference']).default('default').describe('of every recipe that names none itself'),
    aliases: z
      .record(z.string(), reference)
      .default({})
      .describe('other names for stages or paths; the name of a stage replaces it'),
    stages: z
      .record(
        z.string().regex(/^[a-z][a-z0-9-]*$/, 'wanted small letters, digits and hyphens'),
        z.discriminatedUnion('do', kinds.map(({ schema }) => schema) as [StageKind['schema']]),
      )
      .refine((stages) => Object.keys(stages).length > 0, 'wanted a stage, or several'),
  });

export type Experiment = Omit<z.infer<ReturnType<typeof experimentSchema>>, 'stages'> & {
  /** By id, in the order in which they run. */
  readonly stages: Readonly<Record<string, Stage>>;
  readonly kinds: readonly StageKind[];
};

/**
 * Reads an experiment file, whose stages are of `kinds`, with settings such as `stages.new.recipe.epochs=8` applied.
 * @throws UserError listing every problem of the file, or of a recipe in it, before anything is run.
 */
export async function loadExperiment(
  given: string,
  { kinds, settings = [] }: { readonly kinds: readonly StageKind[]; readonly settings?: readonly string[] },
): Promise<Experiment> {
  const file = resolveOwnOrPackaged(given);
  if (!existsSync(file))
    throw new FileError(file, 'no such file', `your own, or one of ${shippedFiles('experiments').join(', ')}`);
  const schema = experimentSchema(kinds);
  const { data, error } = schema.safeParse(applySettings(readExperimentFile(file), settings));
  if (error)
    throw new UserError(`${file}: ${describeIssues(error, schema)}`, { hint: 'its schema: mixbct schema experiment' });
  const stages: Record<string, Stage> = {};
  const known = new Set<string>();
  for (const [id, stage] of Object.entries<Stage>(data.stages)) {
    const kind = kindOf({ kinds }, stage);
    for (const used of kind.references(stage))
      requireKnown(file, id, targetOf(data, used), known, Object.keys(data.stages));
    stages[id] = await kind.complete(stage, { id, file, seed: data.seed, preset: data.preset });
    for (const name of [id, ...kind.outputs.map((part) => `${id}.${part}`)]) known.add(name);
  }
  return { ...data, stages, kinds };
}

/**
 * An experiment file's content over that of the file it extends: mappings are merged, everything else is replaced.
 * @throws UserError if it is no YAML, or extends itself. What it says is not checked.
 */
export function readExperimentFile(path: string, above: readonly string[] = []): unknown {
  const raw = readYaml(path) as Record<string, unknown> | null;
  const base = raw?.['extends'];
  if (typeof base !== 'string') return raw;
  const from = resolve(dirname(path), base);
  if (above.includes(from)) throw new UserError(`${path}: extends ${base}, which extends this file`);
  return merge(readExperimentFile(from, [...above, resolve(path)]), raw);
}

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

/** The kind of a stage that the schema has let pass. */
export const kindOf = ({ kinds }: Pick<Experiment, 'kinds'>, stage: Stage): StageKind =>
  kinds.find(({ kind }) => kind === stage.do)!;

/** What a stage takes from others, or from outside. */
export const referencesOf = (experiment: Pick<Experiment, 'kinds'>, stage: Stage): readonly string[] =>
  kindOf(experiment, stage).references(stage);

/** What a reference means: an alias stands for another one. */
export const targetOf = ({ aliases }: Pick<Experiment, 'aliases'>, reference: string): string =>
  Object.hasOwn(aliases, reference) ? aliases[reference]! : reference;

/** The stage that a reference means, or whose part it means; undefined for a path. */
export function stageOf(experiment: Experiment, reference: string): string | undefined {
  const id = targetOf(experiment, reference).split('.')[0]!;
  return Object.hasOwn(experiment.stages, id) ? id : undefined;
}

/** The stages that `wanted` needs, itself included. @throws UserError if there is no such stage. */
export function neededFor(experiment: Experiment, wanted: readonly string[]): ReadonlySet<string> {
  const needed = new Set<string>();
  const visit = (reference: string): void => {
    const id = stageOf(experiment, reference);
    if (id === undefined || needed.has(id)) return;
    needed.add(id);
    referencesOf(experiment, experiment.stages[id]!).forEach(visit);
  };
  for (const id of wanted) {
    if (!Object.hasOwn(experiment.stages, id))
      throw new UserError(`${id}: no such stage${didYouMean(id, Object.keys(experiment.stages))}`);
    visit(id);
  }
  return needed;
}

/** The stages to run, in their order: all, or those that `only` needs; a stage that an alias replaces is none of them. */
export function stagesToRun(
  experiment: Experiment,
  only: readonly string[] = [],
): readonly (readonly [string, Stage])[] {
  const needed = only.length > 0 ? neededFor(experiment, only) : null;
  return Object.entries(experiment.stages).filter(
    ([id]) => !Object.hasOwn(experiment.aliases, id) && (needed?.has(id) ?? true),
  );
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
    `${path}: stage ${id} uses ${used}, ${later ? 'which comes later or has no such part' : `which is no stage${didYouMean(used, [...before])}`}`,
    { hint: 'stages run in the order of the file; a path has a slash in it (./features)' },
  );
}
