import { parseRecipe } from '../../src/runs/load-recipe.ts';
import type { Recipe } from '../../src/runs/recipe.ts';

/** A recipe that trains in a second: a network of 4 to 32 channels on 16-pixel images. */
export const tinyRecipe = (changes: Record<string, unknown> = {}): Recipe =>
  parseRecipe(
    {
      network: { name: 'r18', embeddingDim: 8, inputSide: 16, width: 0.0625 },
      head: { kind: 'arcface', marginRad: 0.2, scale: 16 },
      optimizer: { kind: 'adamw', lr: 0.003 },
      augment: { flip: true, rotateDeg: 5, scale: 0.1, shift: 0.1 },
      epochs: 3,
      batchSize: 8,
      ...changes,
    },
    'a test',
  );
