import { isMapping, mappingOf } from '../base/shape.ts';
import { resolveOwnOrPackaged } from '../base/version.ts';

/** Paths of settings, such as `method.ratio`, and the values of those that have few. */
export type SettingNames = ReadonlyMap<string, readonly string[]>;

/** What a node of a JSON Schema may hold. */
type Node = {
  readonly properties?: Readonly<Record<string, Node>>;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly additionalProperties?: Node;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
};

/** Settings of a recipe. */
export async function recipeSettings(): Promise<SettingNames> {
  const { recipeSchema } = await import('../runs/recipe.ts');
  return settingsIn(await jsonSchema(recipeSchema));
}

/** Settings of an experiment file: those that its stages have, with those of their recipes. @throws UserError if it is unreadable */
export async function experimentSettings(file: string): Promise<SettingNames> {
  const [{ experimentSchema, readExperimentFile }, { stages: kinds }, ofRecipes] = await Promise.all([
    import('../experiment/load.ts'),
    import('../stages/index.ts'),
    recipeSettings(),
  ]);
  const schema = await jsonSchema(experimentSchema(kinds));
  const found = new Map(settingsIn(schema));
  found.delete('stages');
  const ofKinds = variantsOf(schema.properties!['stages']!.additionalProperties!);
  for (const [id, stage] of Object.entries(stagesIn(readExperimentFile(resolveOwnOrPackaged(file))))) {
    const kind = ofKinds.find(({ properties }) => properties?.['do']?.const === stage['do']);
    if (!kind) continue;
    for (const [path, values] of settingsIn(kind)) found.set(`stages.${id}.${path}`, values);
    if (isMapping(stage['recipe']))
      for (const [path, values] of ofRecipes) found.set(`stages.${id}.recipe.${path}`, values);
  }
  return found;
}

/** The names of an experiment's stages. @throws UserError if the file is unreadable */
export const stageNames = async (file: string): Promise<readonly string[]> =>
  Object.keys(stagesIn((await import('../experiment/load.ts')).readExperimentFile(resolveOwnOrPackaged(file))));

/** The stages of an experiment as they stand in its file. */
const stagesIn = (experiment: unknown): Readonly<Record<string, Readonly<Record<string, unknown>>>> =>
  Object.fromEntries(
    Object.entries(mappingOf(mappingOf(experiment)['stages'])).map(([id, stage]) => [id, mappingOf(stage)]),
  );

async function jsonSchema(schema: import('zod').ZodType): Promise<Node> {
  const { z } = await import('zod');
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Node;
}

const variantsOf = (node: Node): readonly Node[] => [node, ...(node.anyOf ?? []), ...(node.oneOf ?? [])];

function settingsIn(node: Node, path = ''): SettingNames {
  const found = new Map<string, readonly string[]>();
  for (const { properties } of variantsOf(node))
    for (const [name, child] of Object.entries(properties ?? {})) {
      const below = settingsIn(child, `${path}${name}.`);
      const own = below.size > 0 ? below : new Map([[`${path}${name}`, valuesOf(child)]]);
      for (const [key, values] of own) found.set(key, [...(found.get(key) ?? []), ...values]);
    }
  return found;
}

const valuesOf = (node: Node): readonly string[] =>
  variantsOf(node).flatMap((one) =>
    one.type === 'boolean'
      ? ['true', 'false']
      : [...(one.enum ?? []), ...(one.const === undefined ? [] : [one.const])].map(String),
  );
