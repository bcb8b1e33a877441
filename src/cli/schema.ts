import { Argument, type Command } from 'commander';
import { z } from 'zod';
import { recipeSchema } from '../train/recipe.ts';
import { command } from './context.ts';
import { experimentSchema } from './experiment.ts';

const schemas = { recipe: recipeSchema, experiment: experimentSchema } as const;

export function schemaCommand(): Command {
  return command(
    'schema',
    'print the JSON Schema of recipes or experiments, for editors',
    'mixbct schema recipe > recipe.schema.json',
  )
    .addArgument(new Argument('<of>', 'which one').choices(Object.keys(schemas)))
    .action((of: keyof typeof schemas) => {
      process.stdout.write(`${JSON.stringify(z.toJSONSchema(schemas[of], { io: 'input' }), null, 2)}\n`);
    });
}
