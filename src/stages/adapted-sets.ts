import { Adapter } from '../adapt/index.ts';
import { digestOf } from '../artifacts/digest.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { type CrossingAdapter, shareImages } from '../eval/index.ts';
import { type AppliedAdapter, featureSetArtifact } from '../features/feature-set-artifact.ts';
import { FeatureSet } from '../features/index.ts';
import { readRunManifest } from '../runs/load-model.ts';

/**
 * How a new model's queries meet the gallery if not as the model made them: its embeddings in the old space, or the old
 * model's in its own space.
 */
export type CrossedSpace = {
  readonly role: 'inOldSpace' | 'oldGallery';
  readonly dim: number;
  /** The set to read rows of, and what is made of them. */
  readonly path: string;
  readonly map?: (rows: Float32Array) => Float32Array;
  /** What it went through; absent: a projection that was trained with the model. */
  readonly adapter?: CrossingAdapter;
  /** Digest of the model with this projection; of the set, where that is not known. */
  readonly projection?: string;
};

/** What an evaluation by feature sets of one dataset tells of an adapter. */
export function crossingAdapter(
  { direction, method, digest, fittedOn }: AppliedAdapter,
  judged: readonly Pick<FeatureSet, 'digest' | 'info'>[],
): CrossingAdapter {
  const isFittedOn = ({ digest: features, info: { dataset } }: (typeof judged)[number]): boolean | null | undefined =>
    fittedOn?.features.includes(features) || (dataset && fittedOn?.dataset && shareImages(dataset, fittedOn.dataset));
  return { direction, method, digest, ...(judged.some(isFittedOn) && { images: 'shared' }) };
}

/** Folders of the sets of a comparison. */
type Compared = { readonly own: string; readonly old: string };

function withSets<T>({ own: ownPath, old: oldPath }: Compared, use: (own: FeatureSet, old: FeatureSet) => T): T {
  using own = FeatureSet.open(ownPath);
  using old = FeatureSet.open(oldPath);
  return use(own, old);
}

const digestIn = ({ info }: FeatureSet): string | null => info.model?.digest ?? null;

/**
 * The crossed space that a second feature set holds: of a model with a projection, or through an adapter.
 * @throws UserError if it is known to be of other models than the two that are compared, or has not the dimensions of the set that it meets.
 */
function crossedSet(compared: Compared, path: string): CrossedSpace {
  using set = FeatureSet.open(path);
  const { adapter, model, dim } = set.info;
  return withSets(compared, (own, old) => {
    if (!adapter) {
      const { model: ownModel } = own.info;
      if (ownModel && model && model.digest !== digestOf(ownModel.digest, 'old'))
        throw new UserError(
          `${path} (model ${model.name}) does not hold the projected embeddings of ${own.path} (model ${ownModel.name})`,
          { hint: 'extract both with the same run, the second with: mixbct extract … --space old' },
        );
      requireDimOf(old, set);
      return { role: 'inOldSpace', dim, path, projection: model?.digest ?? set.digest };
    }
    const [from, to] = adapter.direction === 'query' ? [own, old] : [old, own];
    if (adapter.from !== digestIn(from) || adapter.to !== digestIn(to))
      throw new UserError(
        `${path} went through an adapter for the ${adapter.direction} between other models than those of ${own.path} and ${old.path}`,
        { hint: 'fit an adapter between these two with: mixbct adapt fit' },
      );
    requireDimOf(to, set);
    const role = adapter.direction === 'query' ? 'inOldSpace' : 'oldGallery';
    return { role, dim, path, adapter: crossingAdapter(adapter, [own, old]) };
  });
}

/** What is named for new queries to meet old rows by, if not as they are: a second feature set of the new model, or an adapter. */
type Crossing = { readonly inOldSpace?: string | undefined; readonly adapter?: string | undefined };

/** The crossed space that is named, null if none is. @throws UserError if two are, or by `crossedSet` or `crossedByAdapter`. */
export function crossedSpace(compared: Compared, { inOldSpace, adapter }: Crossing): CrossedSpace | null {
  if (adapter !== undefined && inOldSpace !== undefined)
    throw new UserError(
      `got the adapter ${adapter} and the features ${inOldSpace}, wanted one way for new queries to meet old rows`,
      { hint: 'leave out the adapter, or the second feature set of the new model' },
    );
  if (adapter !== undefined) return crossedByAdapter(compared, adapter);
  return inOldSpace === undefined ? null : crossedSet(compared, inOldSpace);
}

/** @throws UserError if a crossed set has other dimensions than the set that it meets. */
function requireDimOf(met: FeatureSet, { path, info: { dim } }: FeatureSet): void {
  if (dim === met.info.dim) return;
  throw new UserError(
    `${path} has ${dim} dimensions, ${met.path} has ${met.info.dim}: their embeddings cannot be compared`,
    { hint: 'extract it with: mixbct extract … --space old, or map it by an adapter with: mixbct adapt apply' },
  );
}

/** The crossed space that an adapter makes of one of the sets. @throws UserError if it is between other models. */
function crossedByAdapter(compared: Compared, adapterPath: string): CrossedSpace {
  using adapter = Adapter.open(adapterPath);
  const query = adapter.info.direction === 'query';
  return withSets(compared, (own, old) => {
    const [from, to] = query ? [own, old] : [old, own];
    adapter.requireSource(from);
    adapter.requireTarget(to);
    return {
      role: query ? 'inOldSpace' : 'oldGallery',
      dim: adapter.sides.to.dim,
      path: from.path,
      adapter: crossingAdapter(adapter.applied(), [own, old]),
      map: (rows) => {
        using opened = Adapter.open(adapterPath);
        return opened.map(rows, from.path);
      },
    };
  });
}

/** @throws UserError if a set that stands for a model as it is went through an adapter that leads elsewhere. */
export function requireOwnSpace({ own, old }: Compared, role: 'old' | 'oracle' | 'new'): void {
  withSets({ own, old }, (set, oldSet) => {
    const { adapter } = set.info;
    if (!adapter || (role === 'new' && adapter.direction === 'query' && adapter.to === digestIn(oldSet))) return;
    throw new UserError(
      `${own} went through an adapter for the ${adapter.direction}, wanted features of the ${role} model in its own space`,
      {
        hint: optionHint(
          '--new name=features,adapted takes both: features of the new model, and those that were adapted',
        ),
      },
    );
  });
}

/** A model of `evaluate ijb`: a run, or features of the benchmark. */
type Judged = { readonly path: string; readonly kind: 'run' | 'features' };

/**
 * Templates are pooled of features as they are, and meet the old gallery as it is.
 * @throws UserError if features went through an adapter that leads elsewhere than to that gallery.
 */
export function requireSpacesOfTemplates({
  old,
  oracle,
  models,
}: {
  readonly old: Judged | undefined;
  readonly oracle: Judged | undefined;
  readonly models: readonly Judged[];
}): void {
  const infoOf = ({ path, kind }: Judged) => (kind === 'features' ? featureSetArtifact.open(path) : null);
  const digestOfOld = old && (infoOf(old) ?? { model: { digest: readRunManifest(old.path).model } }).model?.digest;
  const judged = [
    ...models.map((model) => ['new', model] as const),
    ['old', old] as const,
    ['oracle', oracle] as const,
  ];
  for (const [role, model] of judged) {
    const adapter = model && infoOf(model)?.adapter;
    if (!adapter || (role === 'new' && !old)) continue;
    if (role !== 'new')
      throw new UserError(
        `${model.path} went through an adapter, wanted features of the ${role} model in its own space`,
      );
    if (adapter.direction === 'gallery')
      throw new UserError(
        `${model.path} went through an adapter for the gallery: it is no new model to compare with the old gallery`,
        {
          hint: 'mixbct evaluate compares galleries that an adapter rewrote',
        },
      );
    if (adapter.to !== (digestOfOld ?? null))
      throw new UserError(`${model.path} went through an adapter into the space of another model than ${old!.path}`, {
        hint: 'fit an adapter between these two models with: mixbct adapt fit',
      });
  }
}
