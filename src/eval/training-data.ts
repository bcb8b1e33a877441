import { canonicalJson } from '../artifacts/digest.ts';
import type { ClassKeys, DatasetReference } from '../data/index.ts';

/** How a model's training data relates to the evaluation set. */
export type TrainingData = {
  /**
   * `same`: every image of the evaluation set is in its training set. `overlapping`: some classes are in both. `disjoint`: no
   * class is. `unknown`: one of the two is not known, or they have nothing in common to compare by.
   */
  readonly relation: 'same' | 'overlapping' | 'disjoint' | 'unknown';
  /** Classes of the evaluation set that the model was trained on; absent if unknown. */
  readonly sharedClasses?: number;
  /** Whether images of these classes are in both sets; absent if that is not known. */
  readonly images?: 'shared' | 'different';
  /** What was compared: the digests of the datasets, class ids of the dataset that both are parts of, or class names. */
  readonly comparedBy?: 'digest' | 'origin' | 'names';
  /** Path of the training set, as given to the training. */
  readonly path?: string;
};

/** A dataset with the keys of its classes or, if these are not known, its labels. */
export type KnownData = {
  readonly dataset: DatasetReference;
  readonly classKeys: ClassKeys | null;
  readonly labels?: Int32Array;
};

/** Compares a training set with the evaluation set; null where a dataset is not known. */
export function relateTrainingData(training: KnownData | null, evaluation: KnownData | null): TrainingData {
  if (!training) return { relation: 'unknown' };
  const { path } = training.dataset;
  if (!evaluation) return { relation: 'unknown', path };
  if (training.dataset.digest === evaluation.dataset.digest) {
    const sharedClasses = new Set(evaluation.classKeys?.labels ?? evaluation.labels).size;
    return { relation: 'same', sharedClasses, images: 'shared', comparedBy: 'digest', path };
  }
  return { ...(byOrigin(training, evaluation) ?? byNames(training, evaluation) ?? { relation: 'unknown' }), path };
}

/**
 * Whether two datasets are known to have images in common: they are one, or one is the set that the other is a part of. Two parts of one
 * set may have other classes, which references do not tell.
 */
export const shareImages = (a: DatasetReference, b: DatasetReference): boolean =>
  a.digest === b.digest || a.digest === originOf(b).digest || originOf(a).digest === b.digest;

type Draws = NonNullable<DatasetReference['origin']>['draws'];

/** Datasets of earlier versions do not record an origin, so they count as their own. */
const originOf = ({ origin, digest }: DatasetReference) => origin ?? { digest, draws: [] };

/** A dataset's origin, the ids of its classes there, and whether it has a class of some id; null if this was not recorded. */
function lineage({ dataset, classKeys, labels }: KnownData) {
  const { digest, draws } = originOf(dataset);
  if (dataset.origin && !classKeys) return null;
  const ids = new Set(classKeys?.ids ?? labels);
  const has = (id: number): boolean => (classKeys || labels ? ids.has(id) : id < dataset.classes);
  return { digest, draws, ids, has };
}

function byOrigin(training: KnownData, evaluation: KnownData): TrainingData | null {
  const [ours, theirs] = [lineage(training), lineage(evaluation)];
  if (!ours || !theirs || ours.digest !== theirs.digest || theirs.ids.size === 0) return null;
  const sharedClasses = [...theirs.ids].filter(ours.has).length;
  if (sharedClasses === 0) return { relation: 'disjoint', sharedClasses, comparedBy: 'origin' };
  const images = relateImages(ours.draws, theirs.draws);
  const inside = sharedClasses === theirs.ids.size && startsWith(theirs.draws, ours.draws);
  return { relation: inside ? 'same' : 'overlapping', sharedClasses, ...(images && { images }), comparedBy: 'origin' };
}

/** Compares the images of one class in two datasets by how they were drawn. */
function relateImages(a: Draws, b: Draws): 'shared' | 'different' | undefined {
  if (startsWith(a, b) || startsWith(b, a)) return 'shared';
  const opposite = a.some(
    (one) =>
      'part' in one &&
      one.shared === 0 &&
      b.some((other) => 'part' in other && other.of === one.of && other.ratio === one.ratio && other.part !== one.part),
  );
  return opposite ? 'different' : undefined;
}

/** Whether draws `a` begin with draws `b`. Then the images of `a` are a part of those of `b`. */
const startsWith = (a: Draws, b: Draws): boolean =>
  b.length <= a.length && canonicalJson(a.slice(0, b.length)) === canonicalJson(b);

function byNames(training: KnownData, evaluation: KnownData): TrainingData | null {
  const [ours, theirs] = [training.classKeys?.names, evaluation.classKeys?.names];
  if (!ours || !theirs) return null;
  const trained = new Set(ours);
  const sharedClasses = theirs.filter((name) => trained.has(name)).length;
  return { relation: sharedClasses > 0 ? 'overlapping' : 'disjoint', sharedClasses, comparedBy: 'names' };
}
