import { canonicalJson, digestOf } from '../artifacts/digest.ts';
import type { InputRecipe } from '../data/model-input.ts';
import type { RunManifest } from './run-artifact.ts';

/** What makes embeddings beside the weights of a backbone. */
type BesideWeights = {
  /** How pictures are mapped, where it is declared. */
  readonly input: InputRecipe | undefined;
  /** Digest of the projection's file, where there is one: a frozen backbone has the same weights with another projection. */
  readonly projection?: string | undefined;
};

/** What names a model in feature sets, in its own space and with `old` in that of the projection. `weights`: digest of the backbone's file. */
export function identityOf(
  weights: string,
  { input, projection }: BesideWeights,
): Pick<RunManifest, 'model' | 'weights'> {
  const parts = [...(input ? [canonicalJson(input)] : []), ...(projection !== undefined ? [projection] : [])];
  return parts.length > 0 ? { model: digestOf(weights, ...parts), weights } : { model: weights };
}
