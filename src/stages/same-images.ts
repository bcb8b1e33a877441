import { UserError } from '../base/errors.ts';
import { formatCount, logLine } from '../base/progress.ts';
import { FeatureSet, requireSamePreprocessing } from '../features/index.ts';

/**
 * Checks that the feature sets at `paths` are embeddings of the same images in the same order. → the one, open, that knows most
 * of these images: its labels hold for all, and its families, or those of the first set that has them. A set from elsewhere
 * that names no dataset passes, with a note, if its labels agree.
 * @throws UserError naming two sets that do not belong together.
 */
export function openSameImages(paths: readonly string[]): FeatureSet {
  const known = paths.map(knowledgeOf);
  const reference = FeatureSet.open(paths[known.indexOf(Math.max(...known))]!);
  try {
    for (const path of paths) {
      using set = FeatureSet.open(path);
      requireSameSet(reference, set);
      requireSamePreprocessing(reference, set);
      if (!hasFamilies(reference)) reference.takeFamilies(set);
    }
    return reference;
  } catch (error) {
    reference.close();
    throw error;
  }
}

/** 0: no dataset is named. 1: one is. 2: what it is a part of, too. */
function knowledgeOf(path: string): number {
  using set = FeatureSet.open(path);
  const { dataset } = set.info;
  return dataset === null ? 0 : dataset.origin === undefined ? 1 : 2;
}

/** Rows of both sets must be the same images in the same order. */
function requireSameSet(reference: FeatureSet, other: FeatureSet): void {
  const [a, b] = [reference.info.dataset, other.info.dataset];
  const same =
    reference.info.count === other.info.count && (!a || !b || a.digest === b.digest) && sameRows(reference, other);
  if (!same)
    throw new UserError(
      `${other.path} (${b?.path ?? 'unknown origin'}, ${formatCount(other.info.count, 'row')}) and ${reference.path} (${a?.path ?? 'unknown origin'}, ${formatCount(reference.info.count, 'row')}) are not embeddings of the same images`,
      { hint: 'extract both from one evaluation set' },
    );
  if (!b && other.path !== reference.path && !(hasIds(reference) && hasIds(other)))
    logLine(
      `note: ${other.path} names no dataset; its rows are taken for those of ${reference.path}, whose labels are the same`,
    );
}

const hasFamilies = (set: FeatureSet): boolean => set.families().some((family) => family >= 0);
const hasIds = (set: FeatureSet): boolean => set.info.count > 0 && set.id(0) !== null;

/** Whether labels agree, and families and ids where both sets have them. */
function sameRows(a: FeatureSet, b: FeatureSet): boolean {
  const sameColumn = (ours: Int32Array, theirs: Int32Array): boolean => ours.every((id, i) => id === theirs[i]);
  if (!sameColumn(a.labels(), b.labels())) return false;
  if (hasFamilies(a) && hasFamilies(b) && !sameColumn(a.families(), b.families())) return false;
  return !hasIds(a) || !hasIds(b) || a.labels().every((_, row) => a.id(row) === b.id(row));
}
