import type { Rng } from '../base/rng.ts';
import { type BackboneName, type BackboneOptions, makeBackbone } from '../models/index.ts';
import { Linear, type Module } from '../nn/index.ts';
import type { NetworkRecipe, Recipe } from './recipe.ts';

/** A fresh backbone. Options that are null are the backbone's own defaults. */
export function backboneOf({ name, ...options }: NetworkRecipe, rng: Rng): Module {
  const given = Object.entries(options).filter(([, value]) => value !== null);
  return makeBackbone(name as BackboneName, Object.fromEntries(given) as BackboneOptions, rng);
}

/** A fresh projection from the new embeddings to the old space. */
export const projectionOf = ({ network, projection }: Pick<Recipe, 'network' | 'projection'>, rng: Rng): Module =>
  new Linear(network.embeddingDim, projection!.dim, { bias: false }, rng);
