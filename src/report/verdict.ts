import type { CandidateResult, Comparison, DropInTest, Evaluation, TrainingData } from '../eval/index.ts';
import { groupDigits, percent, rateText, scoreText } from './number-format.ts';
import { farText, operatingPointOf } from './threshold-tables.ts';

/** The conclusion on a new model in one sentence. */
export function verdict(evaluation: Evaluation, candidate: CandidateResult): string {
  const { name, withheld } = candidate;
  if (!withheld) return [...conclusion(evaluation, candidate), ...overlapWarnings(evaluation, name)].join('; ');
  switch (withheld.reason) {
    case 'training images':
      return `no verdict on ${name}: ${sharedImagesText(evaluation, name)}`;
    case 'trial':
      return `no verdict on ${name}: a trial run shows that every stage works, and says nothing about models`;
    case 'too few identities':
      return `no verdict on ${name}: ${withheld.identities} identities are too few, a verdict needs ${withheld.needed}`;
  }
}

function conclusion(evaluation: Evaluation, { name, comparisons, dropIn }: CandidateResult): string[] {
  const named = (criterion: Comparison['criterion']): string =>
    comparisons
      .filter((c) => c.criterion === criterion)
      .map(({ metric }) => metric)
      .join(', ');
  const [met, missed, undecided] = [named('met'), named('missed'), named('undecided')];
  const rest = undecided ? [`undecided: ${undecided}`] : [];
  const thresholds = dropIn ? thresholdsText(evaluation, name, dropIn) : null;
  if (met && !missed)
    return [
      `${name} can serve the old gallery${thresholds?.how ?? ''}: its queries beat the old model's own (${met})`,
      ...rest,
      ...(thresholds ? [thresholds.atOld] : []),
    ];
  const note = thresholds && (dropIn?.grade === 'drop-in' || dropIn?.grade === 'new threshold') ? thresholds : null;
  const noted = note ? [`its TAR is better${note.how}`, note.atOld] : [];
  if (missed && !met)
    return [
      `${name} cannot serve the old gallery: its queries fall behind the old model's own (${missed})`,
      ...rest,
      ...noted,
    ];
  if (met && missed)
    return [
      `${name} beats the old model's queries on the old gallery by ${met}, but falls behind by ${missed}`,
      ...noted,
    ];
  return [`${name}: no difference to the old model's queries on the old gallery can be told`, ...noted];
}

/** At which threshold a new model can serve the old gallery, and what it does at the old one. */
function thresholdsText(
  evaluation: Evaluation,
  name: string,
  { grade, tarDifference, farDifference }: DropInTest,
): { readonly how: string; readonly atOld: string } | null {
  const { models, operatingPoint } = evaluation;
  const [fresh, old] = [name, models.find(({ role }) => role === 'old')?.name ?? ''].map((query) =>
    operatingPointOf(evaluation, query),
  );
  if (!operatingPoint || !fresh || !old) return null;
  const [threshold, far] = [scoreText(operatingPoint.threshold), farText(operatingPoint.far)];
  const how = {
    'drop-in': ` as a drop-in, at the old threshold ${threshold}`,
    'new threshold': ` with a new threshold, ${scoreText(fresh.keepingFar.threshold.value)} instead of ${threshold} for FAR ${far}`,
    no: `, but no gain in TAR at FAR ${far} is shown`,
    withheld: '',
  }[grade];
  const [there, before] = [fresh.atOldThreshold, old.atOldThreshold];
  const unsure = grade !== 'drop-in' && tarDifference.low > 0 && farDifference.low <= 0;
  return {
    how,
    atOld: `at the old threshold it accepts ${percent(there.tar.value)} % of the genuine pairs (old model: ${percent(before.tar.value)} %) and ${rateText(there.far.value)} % of the impostor pairs (${rateText(before.far.value)} %)${unsure ? ', which is not known well enough to call it a drop-in' : ''}`,
  };
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
  const fitted = modelsOf(evaluation, name).some(({ adapter }) => adapter?.images === 'shared');
  return [
    ...sentence('these images', all),
    ...sentence('some of these images', some),
    ...(fitted ? ['its adapter was fitted on images of this set'] : []),
  ].join(', ');
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
