import { UserError } from '../base/errors.ts';

/** What `requireSameSource` compares: a feature set, or what is derived from one. */
export type FeatureSource = {
  readonly path: string;
  /** Digest of the features; for a feature set its own. */
  readonly features: string;
  readonly model?: { readonly name: string; readonly digest: string } | null | undefined;
  /** Valid only with exactly the features that it was made from. */
  readonly ofRows?: boolean;
};

/**
 * @throws UserError if two artefacts come from different features, unless these are of one model and neither artefact is a
 * mask of rows.
 */
export function requireSameSource(one: FeatureSource, other: FeatureSource): void {
  if (one.features === other.features) return;
  const known = one.model && other.model;
  if (known && one.model.digest === other.model.digest && !one.ofRows && !other.ofRows) return;
  const from = ({ path, model, features }: FeatureSource): string =>
    `${path} (${model ? `model ${model.name} ${model.digest}, ` : ''}features ${features})`;
  throw new UserError(`${from(other)} does not belong to ${from(one)}`, {
    hint: 'make masks, prototypes and boundaries from the very features that they are used with',
  });
}
