import { UserError } from '../base/errors.ts';
import type { Encoder } from '../encoders/index.ts';
import { preprocessingOf } from '../features/feature-set-artifact.ts';
import type { FeatureSet } from '../features/index.ts';
import type { Stamp } from '../stores/stamp.ts';

/** Whether the vectors of a gallery have length 1. */
type Normalised = { readonly normalised: boolean };

/**
 * The stamp of vectors that are those of a feature set. Its model is the one in whose space they lie: of vectors that went through
 * an adapter the one that it leads to.
 * @throws UserError if the set does not say which model it is of.
 */
export function stampOfFeatures({ path, info }: FeatureSet, { normalised }: Normalised): Stamp {
  const { model, adapter = null, dim, flip, preprocessing } = info;
  const digest = adapter ? adapter.to : (model?.digest ?? null);
  if (!model || digest === null)
    throw new UserError(`${path} does not say which model its features are of, which a gallery needs`, {
      hint: 'extract them with a run: mixbct extract',
    });
  return { model: { name: model.name, digest }, dim, normalised, preprocessing, flip, adapter };
}

/** The stamp of vectors that an encoder makes. */
export function stampOfEncoder(
  encoder: Encoder,
  { flip, normalised }: Normalised & { readonly flip: 'none' | 'mean' },
): Stamp {
  const { name, digest, dim } = encoder;
  return { model: { name, digest }, dim, normalised, preprocessing: preprocessingOf({}, encoder), flip, adapter: null };
}
