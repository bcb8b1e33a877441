import type { Evaluation, WithheldVerdict } from './evaluation.ts';

/**
 * The fewest identities that a verdict needs. With fewer, one identity is more than a percentage point of rank-1, a
 * gallery has under 50 entries, and the 95 % interval of rank-1 is wider than ten points (docs/evaluation.md).
 */
const MIN_IDENTITIES = 100;

/** The identities that are searched for or, without searches, those of the pairs. Older evaluations only bound them. */
export function countIdentities({ dataset, protocol }: Pick<Evaluation, 'dataset' | 'protocol'>): number {
  const { galleries, identities = dataset.classes } = protocol;
  const enrolled = galleries.length > 0 ? galleries.reduce((sum, entries) => sum + entries, 0) : dataset.classes;
  return Math.min(identities, enrolled, dataset.classes);
}

/**
 * Withholds the criterion where nothing can be concluded: for all new models if this is a trial run or the evaluation set is too
 * small, and for a model if its training set, the old model's, or what its adapter was fitted on has images of the evaluation set.
 */
export function withholdVerdicts(
  evaluation: Evaluation,
  { trial = false }: { readonly trial?: boolean | undefined } = {},
): Evaluation {
  const saw = ({ trainingData, adapter }: Evaluation['models'][number]): boolean =>
    trainingData?.images === 'shared' || adapter?.images === 'shared';
  const sawImages = (named: string): boolean =>
    evaluation.models.some((model) => (model.name === named || model.role === 'old') && saw(model));
  const identities = countIdentities(evaluation);
  const reasonFor = (name: string): WithheldVerdict | null => {
    if (sawImages(name)) return { reason: 'training images' };
    if (trial) return { reason: 'trial' };
    return identities < MIN_IDENTITIES ? { reason: 'too few identities', identities, needed: MIN_IDENTITIES } : null;
  };
  return {
    ...evaluation,
    candidates: evaluation.candidates.map((candidate) => {
      const withheld = reasonFor(candidate.name);
      if (!withheld) return candidate;
      const comparisons = candidate.comparisons.map((c) => ({ ...c, criterion: 'withheld' as const }));
      const dropIn = candidate.dropIn && { dropIn: { ...candidate.dropIn, grade: 'withheld' as const } };
      return { ...candidate, withheld, ...dropIn, comparisons };
    }),
  };
}
