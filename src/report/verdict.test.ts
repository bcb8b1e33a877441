import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { type DropInTest, type Evaluation, evaluate, type TrainingData, withholdVerdicts } from '../eval/index.ts';
import { renderHtml } from './html.ts';
import { renderSummary, renderTerminal } from './terminal.ts';
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

test('identities that are never searched for do not count', () => {
  const ofEach = [...new Array<number>(500).fill(1), ...new Array<number>(8).fill(20)];
  const labels = Int32Array.from(ofEach.flatMap((count, label) => new Array<number>(count).fill(label)));
  const model = (name: string) => {
    const rng = new Rng(name);
    return { name, dim: 4, rows: Float32Array.from({ length: labels.length * 4 }, () => rng.uniform() - 0.5) };
  };
  const families = new Int32Array(labels.length).fill(-1);
  const data = { title: '', dataset: { path: 'p', digest: 'd' }, labels, families };
  const evaluation = evaluate({ ...data, impostors: 5000, resamples: 20, old: model('old'), candidates: [model('new')] }); // biome-ignore format: short
  assert.equal(evaluation.protocol.identities, 8);
  const few = withholdVerdicts(evaluation);
  assert.deepEqual(few.candidates[0]!.withheld, { reason: 'too few identities', identities: 8, needed: 100 });
  const { identities: _, ...earlier } = evaluation.protocol;
  assert.equal(withholdVerdicts({ ...evaluation, protocol: earlier }).candidates[0]!.withheld, undefined);
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

test('the verdict says at which threshold a model can serve, and what it does at the old one', () => {
  const judgedAt = withholdVerdicts(judged(100));
  const [candidate] = judgedAt.candidates;
  const say = (changes: Partial<DropInTest>): string =>
    verdict(judgedAt, { ...candidate!, dropIn: { ...candidate!.dropIn!, ...changes } });
  const atOld =
    /; at the old threshold it accepts \d+\.\d\d % of the genuine pairs \(old model: \d+\.\d\d %\) and [\d.]+ % of the impostor pairs \([\d.]+ %\)/;
  const dropIn = say({ grade: 'drop-in' });
  assert.match(
    dropIn,
    /^new can serve the old gallery as a drop-in, at the old threshold 0\.\d{4}: its queries beat the old model's own \(/,
  );
  assert.match(dropIn, atOld);
  const moved = say({ grade: 'new threshold', farDifference: { value: 1e-3, low: 1e-4, high: 2e-3 } });
  assert.match(moved, /^new can serve .* with a new threshold, 0\.\d{4} instead of 0\.\d{4} for FAR 1e-3: its queries/);
  assert.match(moved, atOld);
  const gained = { value: 0.1, low: 0.05, high: 0.2 };
  const unsure = { tarDifference: gained, farDifference: { value: 0, low: -1e-3, high: 5e-3 } };
  assert.match(say({ grade: 'new threshold', ...unsure }), /which is not known well enough to call it a drop-in/);
  assert.match(say({ grade: 'no' }), /^new can serve the old gallery, but no gain in TAR at FAR 1e-3 is shown: its/);
  const missed = candidate!.comparisons.map((c, i) => ({
    ...c,
    criterion: i === 1 ? ('missed' as const) : c.criterion,
  }));
  assert.match(
    verdict(judgedAt, {
      ...candidate!,
      comparisons: missed,
      dropIn: { ...candidate!.dropIn!, grade: 'new threshold' },
    }),
    /falls behind by rank-1; its TAR is better with a new threshold, 0\.\d{4} instead of 0\.\d{4} for FAR 1e-3; at the old/,
  );
});

test('evaluations of earlier versions are read as before, without figures at the old threshold', () => {
  const { operatingPoint: _, ...rest } = judged(100);
  const earlier: Evaluation = {
    ...rest,
    tests: rest.tests.map(({ operatingPoint: _, ...test }) => test),
    candidates: rest.candidates.map(({ dropIn: _, ...candidate }) => candidate),
  };
  assert.match(
    said(earlier),
    /^new can serve the old gallery: its queries beat the old model's own \([^;]*\)(; undecided: [^;]*)?$/,
  );
  for (const report of [
    renderTerminal(earlier),
    renderHtml(earlier),
    renderSummary(['a', 'b'].map((name) => ({ name, evaluation: earlier }))),
  ])
    assert.doesNotMatch(report, /old threshold/);
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
