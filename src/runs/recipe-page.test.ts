// docs/training.md: the table of a recipe's keys is that of the schema.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../base/version.ts';
import { parseRecipe } from './load-recipe.ts';
import { recipeSchema } from './recipe.ts';

const page = readFileSync(join(packageRoot, 'docs/training.md'), 'utf8');
const [table] = /\| key \| default \| \|\n[\s\S]*?\n\n/.exec(page) ?? [''];
const rows = table
  .split('\n')
  .slice(2)
  .flatMap((line) => {
    const [, key, fallback] = /^\| `(\w+)` \| (.*?) \|/.exec(line) ?? [];
    return key === undefined || fallback === undefined ? [] : [[key, fallback.replaceAll('`', '')] as const];
  });

test('the page on training has every key of a recipe, and no other', () => {
  assert.deepEqual(rows.map(([key]) => key).sort(), Object.keys(recipeSchema.shape).sort());
});

test('the page on training has the default of every key that has a plain one', () => {
  const recipe = parseRecipe({ network: { name: 'r18', embeddingDim: 8 } }, 'a recipe');
  const kind = (value: unknown): unknown =>
    value && typeof value === 'object' && 'kind' in value ? value.kind : value;
  const plain = new Map(Object.entries(recipe).map(([key, value]) => [key, kind(value)]));
  for (const [key, shown] of rows) {
    const value = plain.get(key);
    if (value === undefined || (typeof value === 'object' && value !== null)) continue;
    assert.equal(shown, String(value), key);
  }
});
