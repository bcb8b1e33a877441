import { yamlOf } from '../base/yaml.ts';
import { loadRecipe } from './load-recipe.ts';
import { differencesFromReference, repairsInEveryPreset } from './preset.ts';
import type { Recipe } from './recipe.ts';

/** A published configuration with every default, and as YAML under comments on how it differs from the reference. */
export function annotatedRecipe(
  name: string,
  preset?: 'default' | 'reference',
): { readonly recipe: Recipe; readonly yaml: string } {
  const recipe = loadRecipe(name, { preset });
  const differences = [...differencesFromReference(recipe), ...repairsInEveryPreset];
  const comments = differences.map((line) => `#   ${line}\n`).join('');
  return { recipe, yaml: `# Differs from the reference:\n${comments}${yamlOf(recipe)}` };
}
