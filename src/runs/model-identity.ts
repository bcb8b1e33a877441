import { canonicalJson, digestOf } from '../artifacts/digest.ts';
import type { InputRecipe } from '../data/model-input.ts';
import type { RunManifest } from './run-artifact.ts';

/**
 * What names a model in feature sets. Weights of which pictures are mapped in another way make other embeddings.
 * `weights`: digest of the backbone's file.
 */
export function identityOf(weights: string, input: InputRecipe | undefined): Pick<RunManifest, 'model' | 'weights'> {
  return input ? { model: digestOf(weights, canonicalJson(input)), weights } : { model: weights };
}
