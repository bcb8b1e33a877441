import type { Command } from 'commander';
import { UserError } from '../base/errors.ts';
import { namedRecipe, namedRecipes, suggestName } from '../runs/named-recipes.ts';
import { command, print } from './context.ts';

export function recipesCommand(): Command {
  return command(
    'recipes',
    'list the published configurations, or print one with every default',
    'mixbct recipes\nmixbct recipes OPclass_ms1mv3_r18_to_r50_MixBCT_softmax_to_arc_f128 --preset reference',
  )
    .argument('[name]', 'print this one as YAML')
    .shared('preset')
    .action(async (name: string | undefined, options) => {
      if (name === undefined) {
        const { textTable } = await import('../report/terminal.ts');
        const listed = namedRecipes.map(({ name, summary }) => ({ name, summary }));
        const rows = listed.map(({ name, summary }) => [name, summary]);
        return print(options, listed, textTable(['name', 'what it trains'], rows));
      }
      if (!namedRecipe(name))
        throw new UserError(`${name}: no recipe of that name${suggestName(name)}`, {
          hint: 'the names: mixbct recipes',
        });
      const [{ yamlOf }, { differencesFromReference, repairsInEveryPreset }, { loadRecipe }] = await Promise.all([
        import('../base/yaml.ts'),
        import('../runs/preset.ts'),
        import('../runs/load-recipe.ts'),
      ]);
      const recipe = loadRecipe(name, { preset: options.preset });
      const differences = [...differencesFromReference(recipe), ...repairsInEveryPreset];
      const comments = differences.map((line) => `#   ${line}\n`).join('');
      print(options, recipe, `# Differs from the reference:\n${comments}${yamlOf(recipe)}`);
    });
}
