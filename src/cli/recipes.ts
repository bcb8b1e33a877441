import { UserError } from '../base/errors.ts';
import { namedRecipe, namedRecipes, shippedRecipes, suggestName } from '../runs/named-recipes.ts';
import { command } from './context.ts';

export const recipesCommand = () =>
  command('recipes', 'list the recipes that come with mixbct, or print one with every default')
    .example('mixbct recipes', 'mixbct recipes OPclass_ms1mv3_r18_to_r50_MixBCT_softmax_to_arc_f128 --preset reference')
    .argument('[name]', 'print this one as YAML')
    .shared('preset')
    .prints(async (name: string | undefined, { preset }) => {
      if (name === undefined) {
        const { textTable } = await import('../report/terminal.ts');
        const listed = [...shippedRecipes(), ...namedRecipes.map(({ name, summary }) => ({ name, summary }))];
        const rows = listed.map(({ name, summary }) => [name, summary]);
        return [listed, textTable(['name', 'what it trains'], rows)];
      }
      if (!namedRecipe(name) && !shippedRecipes().some((shipped) => shipped.name === name))
        throw new UserError(`${name}: no recipe of that name${suggestName(name)}`, {
          hint: 'the names: mixbct recipes',
        });
      const { annotatedRecipe } = await import('../runs/annotated-recipe.ts');
      const { recipe, yaml } = annotatedRecipe(name, preset);
      return [recipe, yaml];
    });
