import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { type Evaluation, evaluate, type TrainingData, withholdVerdicts } from '../eval/index.ts';
import { dataText, verdict } from './verdict.ts';

/** Two models of `classes` identities, the new one with less noise: it serves the old gallery. */
function judged(classes: number, trainingData: Partial<Record<'old' | 'new', TrainingData>> = {}): Evaluation {
  const [each, dim] = [4, 8];
  const centres = new Rng('centres');
  const centre = Array.from({ length: classes * dim }, () => centres.uniform() - 0.5);
  const model = (name: 'old' | 'new', noise: number) => {
    const rng = new Rng(name);
    const rows = Float32Array.from(
      { length: classes * each * dim },
      (_, i) => centre[Math.floor(i / (each * dim)) * dim + (i % dim)]! + noise * (rng.uniform() - 0.5),
    );
    return { name, dim, rows, ...(trainingData[name] && { trainingData: trainingData[name] }) };
  };
  return evaluate({
    title: '',
    dataset: { path: 'p', digest: 'd' },
    labels: Int32Array.from({ length: classes * each }, (_, i) => Math.floor(i / each)),
    families: new Int32Array(classes * each).fill(-1),
    impostors: 5000,
    resamples: 100,
    old: model('old', 1.2),
    candidates: [model('new', 0.4)],
  });
}

const said = (evaluation: Evaluation): string => verdict(evaluation, evaluation.candidates[0]!);
const disjoint: TrainingData = { relation: 'disjoint', sharedClasses: 0, comparedBy: 'origin' };

test('a verdict needs 100 identities; with fewer the numbers are shown and nothing is concluded', () => {
  const [small, large] = [99, 100].map((classes) => withholdVerdicts(judged(classes)));
  assert.equal(said(small!), 'no verdict on new: 99 identities are too few, a verdict needs 100');
  assert.match(said(large!), /^new can serve the old gallery/);
  const few = judged(20);
  assert.equal(withholdVerdicts(few).candidates[0]!.comparisons.length, few.candidates[0]!.comparisons.length);
  const enrolled = { ...judged(100).protocol, galleries: [40, 41] };
  assert.match(said(withholdVerdicts({ ...judged(100), protocol: enrolled })), /81 identities are too few/);
  assert.match(said(withholdVerdicts({ ...judged(100), protocol: { ...enrolled, galleries: [] } })), /can serve/);
});

test('what is known of training data is said in words that fit it', () => {
  const relations: readonly (readonly [TrainingData | undefined, TrainingData | undefined, RegExp, RegExp])[] = [
    [disjoint, disjoint, /^400 images of 100 classes that no model was trained on \(checked\)\.$/, /^new can serve/],
    [disjoint, { ...disjoint, comparedBy: 'names' }, /\(checked by class names\)\.$/, /^new can serve/],
    [undefined, undefined, /100 classes\. Whether a model was trained on these classes is not known\.$/, /^new can/],
    [
      disjoint,
      { relation: 'unknown' },
      / old: not trained on these classes; new: training data unknown\.$/,
      /^new can/,
    ],
    [
      disjoint,
      { relation: 'overlapping', sharedClasses: 12 },
      / old: not trained on these classes; new: trained on 12 of these classes\.$/,
      /^new can serve .*; caution: new was trained on 12 of these 100 classes$/,
    ],
    [
      { relation: 'overlapping', sharedClasses: 1200, images: 'different' },
      disjoint,
      / old: trained on 1,200 of these classes, on other images; new: not trained on these classes\.$/,
      /; caution: old was trained on/,
    ],
    [
      disjoint,
      { relation: 'overlapping', sharedClasses: 3, images: 'shared' },
      / new: trained on 3 of these classes and some of these images\.$/,
      /^no verdict on new: some of these images are in the training set of new$/,
    ],
    [
      { relation: 'same', sharedClasses: 100, images: 'shared' },
      disjoint,
      / old: trained on these images; new: not trained on these classes\.$/,
      /^no verdict on new: these images are in the training set of old$/,
    ],
  ];
  for (const [old, fresh, data, sentence] of relations) {
    const evaluation = withholdVerdicts(judged(100, { ...(old && { old }), ...(fresh && { new: fresh }) }));
    assert.match(dataText(evaluation), data);
    assert.match(said(evaluation), sentence);
  }
});

test('evaluations of earlier versions are read as before, without a claim on training data', () => {
  const { models, ...rest } = judged(20, { old: disjoint, new: disjoint });
  const earlier = { ...rest, models: models.map(({ trainingData: _, ...model }) => model) };
  assert.match(
    dataText(earlier),
    /80 images of 20 classes\. Whether a model was trained on these classes is not known\./,
  );
  assert.match(said(earlier), /^new can serve the old gallery/);
});
