import { Argument } from 'commander';
import { command } from './context.ts';

const schemas = {
  recipe: async () => (await import('../runs/recipe.ts')).recipeSchema,
  experiment: async () => {
    const [{ experimentSchema }, { stages }] = await Promise.all([
      import('../experiment/load.ts'),
      import('../stages/index.ts'),
    ]);
    return experimentSchema(stages);
  },
  thresholds: async () => (await import('../eval/thresholds-schema.ts')).thresholdsSchema,
  chain: async () => (await import('../plan/chain-artifact.ts')).chainSchema,
  plan: async () => (await import('../plan/plan-artifact.ts')).planSchema,
} as const;

export const schemaCommand = () =>
  command('schema', 'print the JSON Schema of recipes or experiments, for editors, or of what --json prints')
    .example('mixbct schema recipe > recipe.schema.json')
    .addArgument(new Argument('<of>', 'which one').choices(Object.keys(schemas)))
    .prints(async (of: keyof typeof schemas) => {
      const [{ z }, schema] = await Promise.all([import('zod'), schemas[of]()]);
      const json = z.toJSONSchema(schema, { io: 'input' });
      return [json, JSON.stringify(json, null, 2)];
    });
