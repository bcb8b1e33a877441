import type { CandidateResult, Comparison, Evaluation, TrainingData } from '../eval/index.ts';
import { groupDigits } from './number-format.ts';

/** The conclusion on a new model in one sentence. */
export function verdict(evaluation: Evaluation, { name, comparisons, withheld }: CandidateResult): string {
  if (!withheld) return [comparisonSentence(name, comparisons), ...overlapWarnings(evaluation, name)].join('; ');
  switch (withheld.reason) {
    case 'training images':
      return `no verdict on ${name}: ${sharedImagesText(evaluation, name)}`;
    case 'trial':
      return `no verdict on ${name}: a trial run shows that every stage works, and says nothing about models`;
    case 'too few identities':
      return `no verdict on ${name}: ${withheld.identities} identities are too few, a verdict needs ${withheld.needed}`;
  }
}

function comparisonSentence(name: string, comparisons: readonly Comparison[]): string {
  const named = (criterion: Comparison['criterion']): string =>
    comparisons
      .filter((c) => c.criterion === criterion)
      .map(({ metric }) => metric)
      .join(', ');
  const [met, missed, undecided] = [named('met'), named('missed'), named('undecided')];
  const rest = undecided && `; undecided: ${undecided}`;
  if (met && !missed) return `${name} can serve the old gallery: its queries beat the old model's own (${met})${rest}`;
  if (missed && !met)
    return `${name} cannot serve the old gallery: its queries fall behind the old model's own (${missed})${rest}`;
  if (met && missed)
    return `${name} beats the old model's queries on the old gallery by ${met}, but falls behind by ${missed}`;
  return `${name}: no difference to the old model's queries on the old gallery can be told`;
}

type Model = Evaluation['models'][number];

/** The models that a verdict on `name` rests on. */
const modelsOf = ({ models }: Evaluation, name: string): readonly Model[] =>
  models.filter((model) => model.name === name || model.role === 'old');

function sharedImagesText(evaluation: Evaluation, name: string): string {
  const known = modelsOf(evaluation, name).filter(({ trainingData }) => trainingData?.images === 'shared');
  const sentence = (which: string, models: readonly Model[]): string[] =>
    models.length === 0
      ? []
      : [`${which} are in the training set of ${models.map((model) => model.name).join(' and ')}`];
  const all = known.filter(({ trainingData }) => trainingData!.relation === 'same');
  const some = known.filter((model) => !all.includes(model));
  return [...sentence('these images', all), ...sentence('some of these images', some)].join(', ');
}

/** What a verdict on `name` has to be read with: models that were trained on some of the classes. */
export function overlapWarnings(evaluation: Evaluation, name: string): string[] {
  const { classes } = evaluation.dataset;
  const overlapping = modelsOf(evaluation, name).filter(({ trainingData }) => trainingData?.relation === 'overlapping');
  return overlapping.map(
    ({ name, trainingData }) =>
      `caution: ${name} was trained on ${groupDigits(trainingData!.sharedClasses!)} of these ${groupDigits(classes)} classes`,
  );
}

/** Describes the evaluation set, and whether models were trained on its classes. */
export function dataText({ dataset, models }: Evaluation): string {
  const families = dataset.families === null ? '' : ` in ${groupDigits(dataset.families)} families`;
  const of = ({ trainingData }: Model): TrainingData => trainingData ?? { relation: 'unknown' };
  const [images, classes] = [groupDigits(dataset.images), groupDigits(dataset.classes)];
  if (models.every((model) => of(model).relation === 'disjoint')) {
    const byNames = models.some((model) => of(model).comparedBy === 'names');
    return `${images} images of ${classes} classes that no model was trained on (checked${byNames ? ' by class names' : ''})${families}.`;
  }
  const set = `${images} images of ${classes} classes${families}.`;
  if (models.every((model) => of(model).relation === 'unknown'))
    return `${set} Whether a model was trained on these classes is not known.`;
  const groups = new Map<string, string[]>();
  for (const model of models) {
    const what = relationText(of(model));
    groups.set(what, [...(groups.get(what) ?? []), model.name]);
  }
  return `${set} ${[...groups].map(([what, names]) => `${names.join(', ')}: ${what}`).join('; ')}.`;
}

function relationText({ relation, sharedClasses, images }: TrainingData): string {
  switch (relation) {
    case 'disjoint':
      return 'not trained on these classes';
    case 'same':
      return 'trained on these images';
    case 'unknown':
      return 'training data unknown';
    case 'overlapping':
      return `trained on ${groupDigits(sharedClasses!)} of these classes${images === undefined ? '' : images === 'shared' ? ' and some of these images' : ', on other images'}`;
  }
}
