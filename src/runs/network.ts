import type { Rng } from '../base/rng.ts';
import { type BackboneName, type BackboneOptions, makeBackbone } from '../models/index.ts';
import { SCRIPTED, ScriptedBackbone } from '../models/scripted.ts';
import { Linear, type Module } from '../nn/index.ts';
import type { NetworkRecipe, Recipe } from './recipe.ts';

/**
 * A fresh backbone. Options that are null are the backbone's own defaults. A scripted one begins as its file has it.
 * @throws FileError if the file of a scripted one is none, or does not fit
 */
export function backboneOf({ name, file = '', ...options }: NetworkRecipe, rng: Rng): Module {
  if (name === SCRIPTED) return new ScriptedBackbone({ file, ...options });
  const given = Object.entries(options).filter(([, value]) => value !== null);
  return makeBackbone(name as BackboneName, Object.fromEntries(given) as BackboneOptions, rng);
}

/** A fresh projection from the new embeddings to the old space. */
export const projectionOf = ({ network, projection }: Pick<Recipe, 'network' | 'projection'>, rng: Rng): Module =>
  new Linear(network.embeddingDim, projection!.dim, { bias: false }, rng);
