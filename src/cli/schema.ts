import { Argument, type Command } from 'commander';
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
} as const;

export function schemaCommand(): Command {
  return command(
    'schema',
    'print the JSON Schema of recipes or experiments, for editors',
    'mixbct schema recipe > recipe.schema.json',
  )
    .addArgument(new Argument('<of>', 'which one').choices(Object.keys(schemas)))
    .action(async (of: keyof typeof schemas) => {
      const [{ z }, schema] = await Promise.all([import('zod'), schemas[of]()]);
      process.stdout.write(`${JSON.stringify(z.toJSONSchema(schema, { io: 'input' }), null, 2)}\n`);
    });
}
