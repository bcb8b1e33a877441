import type { Rng } from '../base/rng.ts';
import { type BackboneName, type BackboneOptions, makeBackbone } from '../models/index.ts';
import { SCRIPTED, ScriptedBackbone } from '../models/scripted.ts';
import { Linear, type Module, OrthonormalLinear } from '../nn/index.ts';
import { contiguous, noGrad, type Tensor } from '../torch/index.ts';
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

/** A fresh projection from the new embeddings to the old space, as it stands in a finished run. */
export const projectionOf = ({ network, projection }: Pick<Recipe, 'network' | 'projection'>, rng: Rng): Linear =>
  new Linear(network.embeddingDim, projection!.dim, { bias: false }, rng);

/** The same for a training, in which an orthonormal one learns the angles of its rows. */
export const trainedProjectionOf = (recipe: Pick<Recipe, 'network' | 'projection'>, rng: Rng): Module =>
  recipe.projection!.orthonormal
    ? new OrthonormalLinear(recipe.network.embeddingDim, recipe.projection!.dim)
    : projectionOf(recipe, rng);

/** What a finished run stores of a projection. Call it in a scope. */
export const projectionState = (projection: Module): [path: string, value: Tensor][] =>
  projection instanceof OrthonormalLinear
    ? [['weight', noGrad(() => contiguous(projection.weight()))]]
    : [...projection.state()];
