import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeModels, newModels, seenWith, upgradeSet } from '../../test/helpers/upgrades.ts';
import type { BackfillCurve, BackfillSimulation } from '../backfill/index.ts';
import type { Estimate, Evaluation } from '../eval/index.ts';
import type { SimulationAt } from './backfill-evidence.ts';
import type { EvaluationAt } from './evidence.ts';
import { type MakePlanOptions, makePlan } from './make-plan.ts';
import { type Plan, planSchema } from './plan-artifact.ts';
import { renderPlan } from './plan-text.ts';

const METRIC = 'rank-1';
const SIZE = { size: 1_000_000, imagesPerSecond: 400 };
const { dim } = upgradeSet;

const all = judgeModels(['compatible', 'alien', 'same', 'equal', 'bridged', 'swapped']);

/** The evaluation as if it had judged some of the models only. */
const only = (names: readonly string[], evaluation: Evaluation = all): EvaluationAt => ({
  path: 'judged',
  evaluation: {
    ...evaluation,
    models: evaluation.models.filter(({ name, role }) => role === 'old' || names.includes(name)),
    candidates: evaluation.candidates.filter(({ name }) => names.includes(name)),
  },
});

const plan = (names: readonly string[], options: Partial<MakePlanOptions> = {}): Plan => {
  const made = makePlan({ evaluations: [only(names)], metric: METRIC, ...options });
  assert.deepEqual(planSchema.parse(JSON.parse(JSON.stringify(made))), made, 'all of it is in the schema');
  return made;
};
const verdictOf = (made: Plan): string => `${made.verdict.way} ${made.verdict.model}`;
const optionOf = (made: Plan, way: string, model: string) =>
  made.options.find((option) => option.way === way && option.model === model)!;
const rankOf = (query: string, gallery: string): { readonly value: Estimate; readonly overOld: Estimate } =>
  all.tests
    .find((one) => one.query === query && one.gallery === gallery)!
    .judged!.find(({ metric }) => metric === METRIC)!;

/** A simulation of the compatible model; `worst`: the worst point of its best order, less old → old. */
function simulated({ share = 0.5, worst = 0.45 } = {}): SimulationAt {
  const [oldOld, newOld, newNew] = [
    rankOf('old', 'old'),
    rankOf('compatible', 'old'),
    rankOf('compatible', 'compatible'),
  ].map(({ value }) => value.value) as [number, number, number];
  const curve: BackfillCurve = {
    ...{ order: 'uncertain-first', merge: 'direct', metric: METRIC, value: [], area: 0.9, belowOld: false },
    ...{
      worst: { share, value: oldOld + worst, overOld: { value: worst, low: worst - 0.05, high: worst + 0.05 } },
      reaches: { most: 0.75, all: 1 },
    },
  };
  const simulation: BackfillSimulation = {
    ...{ kind: 'backfill', version: 1, title: '', crossing: 'direct', shares: [0, 1], skipped: [] },
    dataset: { path: 'set', digest: all.dataset.digest, images: 720, classes: 120 },
    protocol: { seed: 0, genuinePairs: 1, impostorPairs: 1, probes: 1, galleries: [1], draws: 1 },
    ends: [{ metric: METRIC, oldOld, newOld, newNew }],
    curves: [
      { ...curve, order: 'labelled-oracle', area: 1, worst: { ...curve.worst, value: 1 } },
      { ...curve, order: 'random', area: 0.8 },
      curve,
    ],
  };
  return { path: 'simulated', simulation, model: null, adapter: null };
}

test('keep: a model that is the old one is ruled out, one of which nothing can be told is open, with what would decide', () => {
  const same = plan(['same'], { gallery: SIZE });
  assert.equal(verdictOf(same), 'keep old');
  assert.ok(same.options.every(({ way, standing }) => standing === (way === 'keep' ? 'chosen' : 'ruled out')));
  assert.deepEqual(same.verdict.wouldDecide, []);
  const equal = plan(['equal']);
  assert.equal(verdictOf(equal), 'keep old');
  assert.equal(optionOf(equal, 'deploy', 'equal').standing, 'undecided');
  const { value, low } = rankOf('equal', 'old').overOld;
  const wanted = Math.ceil(upgradeSet.classes * ((value - low) / value) ** 2).toLocaleString('en-US');
  assert.match(
    equal.verdict.wouldDecide.join('\n'),
    new RegExp(`^equal → old: about ${wanted} identities instead of 120`),
  );
  assert.match(equal.verdict.wouldDecide.join('\n'), /\nto embed again: the size of the gallery/);
});

test('deploy: a compatible model is taken where nothing dearer is known to be possible, at the threshold of its test', () => {
  const made = plan(['compatible', 'same', 'equal']);
  assert.equal(verdictOf(made), 'deploy compatible');
  const option = optionOf(made, 'deploy', 'compatible');
  const { value, overOld } = rankOf('compatible', 'old');
  assert.deepEqual([option.start, option.end, option.gain], [value, value, overOld]);
  const thresholdOf = (query: string) =>
    all.tests
      .find((one) => one.query === query && one.gallery === 'old')!
      .verification!.tar.find(({ far }) => far === 1e-3)!.threshold;
  assert.deepEqual(option.threshold, { far: 1e-3, old: thresholdOf('old'), start: thresholdOf('compatible'), end: thresholdOf('compatible') }); // biome-ignore format: short
  assert.match(
    made.verdict.why,
    /^Queries of compatible on the old gallery beat .* Threshold for FAR 1e-3: 0\.\d{3} instead of 0\.\d{3}\.$/,
  );
  assert.equal(verdictOf(plan(['compatible'], { gallery: SIZE, limits: { maxHours: 0 } })), 'deploy compatible');
});

test('the threshold is named at the FAR of the evaluation, whatever it is', () => {
  const evaluation = judgeModels(['compatible'], { far: 0.002, resamples: 20 });
  const made = makePlan({ evaluations: [only(['compatible'], evaluation)], metric: METRIC });
  const kept = (query: string) =>
    evaluation.tests.find((one) => one.query === query && one.gallery === 'old')!.operatingPoint!.keepingFar.threshold
      .value;
  const wanted = { far: 0.002, old: kept('old'), start: kept('compatible'), end: kept('compatible') };
  assert.deepEqual(optionOf(made, 'deploy', 'compatible').threshold, wanted);
  assert.match(made.verdict.why, /Threshold for FAR 2e-3: 0\.\d{3} instead of 0\.\d{3}\.$/);
});

test('bridge: the queries of an alien model through an adapter, or the gallery, which is mapped without images', () => {
  const made = plan(['alien', 'bridged'], { gallery: { size: 1000 } });
  assert.equal(verdictOf(made), 'bridge bridged');
  assert.match(made.verdict.summary, /^Deploy bridged, with its queries through the adapter\./);
  assert.deepEqual(optionOf(made, 'deploy', 'alien').reasons, ['not better than the old model']);
  assert.equal(optionOf(made, 're-embed', 'bridged'), undefined, 'it is the alien model once more');
  const { rewrite, reEmbed, bytes, start, worst } = optionOf(
    plan(['swapped'], { gallery: { size: 1000 } }),
    'bridge',
    'swapped',
  );
  const once = 1000 * dim * 4;
  assert.deepEqual([rewrite, reEmbed, start], [1000, 0, null]);
  assert.deepEqual(bytes, { now: once, during: 2 * once, after: once });
  assert.deepEqual(worst!.overOld, { value: 0, low: 0, high: 0 }, 'the gallery is swapped when it is complete');
});

test('backfill: taken with a simulation that stays above the old model, by the best order that can be followed', () => {
  const made = plan(['compatible'], { gallery: SIZE, simulations: [simulated()] });
  assert.equal(verdictOf(made), 'backfill compatible');
  const option = optionOf(made, 'backfill', 'compatible');
  const [first, last] = [rankOf('compatible', 'old'), rankOf('compatible', 'compatible')];
  assert.deepEqual([option.start, option.end], [first.value, last.value]);
  assert.deepEqual([option.order, option.movedFor95, option.reEmbed], ['uncertain-first', 0.75, 1_000_000]);
  assert.equal(option.hours, 1_000_000 / 400 / 3600);
  // between the ends the simulation has an interval of its own
  assert.deepEqual(option.worst!.overOld, { value: 0.45, low: 0.4, high: 0.5 });
  assert.match(
    made.verdict.summary,
    /^Deploy compatible now\. Embed the gallery again in the order uncertain-first\.$/,
  );
  assert.match(made.verdict.why, /with 50\.00 % of the gallery moved\. 95 % of it is reached when 75\.00 % is moved\./);
  const atEnd = (share: number) => {
    const simulations = [simulated({ share })];
    return optionOf(plan(['compatible'], { gallery: SIZE, simulations }), 'backfill', 'compatible').worst!.overOld;
  };
  assert.deepEqual([atEnd(0), atEnd(1)], [first.overOld, last.overOld], 'the ends are tests of the evaluation');
  // without a simulation the same end is reached by embedding everything first
  assert.equal(verdictOf(plan(['compatible'], { gallery: SIZE })), 're-embed compatible');
});

test('backfill: the loss on the way is held to what is accepted, by its interval', () => {
  const simulatedAs = (simulation: SimulationAt, maxLoss = 0) =>
    optionOf(
      plan(['compatible'], { gallery: SIZE, simulations: [simulation], limits: { maxLoss } }),
      'backfill',
      'compatible',
    );
  const standing = (worst: number, maxLoss: number) => simulatedAs(simulated({ worst }), maxLoss).standing;
  assert.deepEqual([standing(-0.2, 0), standing(-0.02, 0), standing(-0.02, 0.2)], ['ruled out', 'undecided', 'chosen']);
  const alien = optionOf(plan(['alien'], { gallery: SIZE }), 'backfill', 'alien');
  assert.deepEqual([alien.standing, alien.reasons], ['ruled out', ['falls behind the old model on the way']]);
  // an order that dips is not taken for its area
  const { simulation, ...at } = simulated();
  const worst = { share: 0.5, value: 0, overOld: { value: -1, low: -1, high: -1 } };
  const dipping = { ...simulation.curves[2]!, order: 'nearest-mean-last' as const, area: 0.99, worst };
  const both = { ...at, simulation: { ...simulation, curves: [...simulation.curves, dipping] } };
  assert.equal(simulatedAs(both).order, 'uncertain-first');
});

test('what would decide a worst point or a distance from chance that is not shown is a number of identities', () => {
  const decidedBy = (options: Partial<MakePlanOptions>): string =>
    plan(['compatible'], { gallery: SIZE, ...options }).verdict.wouldDecide.join('\n');
  const worst = (value: number, maxLoss: number): string =>
    decidedBy({ simulations: [simulated({ worst: value })], limits: { maxLoss } });
  // intervals are ± 0.05, of 120 identities
  assert.equal(worst(0.02, 0), 'backfill compatible: about 750 identities instead of 120, if its worst point stays as measured'); // biome-ignore format: short
  assert.equal(worst(-0.02, 0.04), worst(0.02, 0));
  assert.equal(worst(-0.02, 0), 'backfill compatible: no number of identities, if its worst point stays as measured');
  // old → old below chance, which is 1/60, and a gain whose low end does not reach it
  const { path, evaluation } = only(['compatible']);
  const judgedAs = { value: { value: 0.01, low: 0, high: 0.02 }, overOld: { value: 0.01, low: 0.002, high: 0.018 } };
  const tests = evaluation.tests.map((one) => ({
    ...one,
    judged: one.judged!.map((entry) => (entry.metric === METRIC && one.gallery === 'old' ? { ...entry, ...judgedAs } : entry)), // biome-ignore format: short
  }));
  const wanted = Math.ceil(120 * (0.008 / (0.02 - 1 / 60)) ** 2);
  assert.equal(
    decidedBy({ evaluations: [{ path, evaluation: { ...evaluation, tests } }] }).split('\n')[0],
    `compatible → old, above chance: about ${wanted} identities instead of 120, if its gain stays as measured`,
  );
});

test('a simulation of other data, draws or models, or without the metric, is refused', () => {
  const { simulation, ...at } = simulated();
  const refused =
    (changes: Partial<BackfillSimulation>, names = ['compatible'], metric = METRIC) =>
    () =>
      plan(names, { metric, simulations: [{ ...at, simulation: { ...simulation, ...changes } }] });
  const elsewhere = { ...simulation.dataset, digest: 'another', path: 'elsewhere' };
  assert.throws(refused({ dataset: elsewhere }), /simulated simulates with elsewhere, the evaluation judges set/);
  const ends = (changes: object) => ({ ends: [{ ...simulation.ends[0]!, ...changes }] });
  assert.throws(
    refused(ends({ oldOld: 0.1 })),
    /other models or draws .* old → old is 0\.1, that of the evaluation 0\.35/,
  );
  assert.throws(refused(ends({ newNew: 0.1 })), /simulates other models or draws/);
  assert.throws(refused({}, ['alien']), /simulates other models or draws/);
  const other = 'TPIR@FPIR=1e-1';
  assert.throws(
    refused({}, ['compatible'], other),
    /no curve of TPIR@FPIR=1e-1 by an order that can be followed\n.*rank-1/,
  );
  assert.throws(
    refused({ curves: simulation.curves.slice(0, 1) }),
    /no curve of rank-1 by an order that can be followed/,
  );
});

test('re-embed: taken where the alien model gains more than any cheaper way, within the budget', () => {
  const made = plan(['alien'], { gallery: SIZE });
  assert.equal(verdictOf(made), 're-embed alien');
  const { hours, start } = optionOf(made, 're-embed', 'alien');
  assert.equal(start, null);
  const within = (maxHours: number) => verdictOf(plan(['alien'], { gallery: SIZE, limits: { maxHours } }));
  assert.deepEqual(
    [within(hours!), within(0.999 * hours!)],
    ['re-embed alien', 'keep old'],
    'a budget that is used up is kept',
  );
  const unknown = plan(['alien']);
  assert.match(renderPlan(unknown), /re-embed alien: how long it takes is not known/);
  assert.match(unknown.verdict.wouldDecide.join(), /the size of the gallery, and how many images/);
});

test('an oracle is an option to re-embed, held to the same rules as candidates', () => {
  const { alien } = newModels;
  const evaluation = judgeModels(['same'], {
    oracle: { ...alien(), name: 'oracle', rows: seenWith(0.2, { space: 'own' }) },
  });
  const made = makePlan({ evaluations: [{ path: 'judged', evaluation }], metric: METRIC, gallery: SIZE });
  assert.equal(verdictOf(made), 're-embed oracle');
  assert.equal(made.options.filter(({ model }) => model === 'oracle').length, 1);
  const trial = makePlan({ evaluations: [{ path: 'judged', evaluation: { ...evaluation, candidates: evaluation.candidates.map((one) => ({ ...one, withheld: { reason: 'trial' } as const })) } }], metric: METRIC, gallery: SIZE }); // biome-ignore format: short
  assert.equal(verdictOf(trial), 'keep old');
  assert.match(optionOf(trial, 're-embed', 'oracle').reasons.join(), /no verdict on oracle: a trial run/);
  assert.match(
    trial.verdict.wouldDecide.join('\n'),
    /^oracle: an evaluation with a verdict.*\nsame: an evaluation with a verdict/,
  );
});

test('only ways to accept are chosen, and a plan says whether one was found', () => {
  const accept = (...names: NonNullable<NonNullable<MakePlanOptions['limits']>['accept']>) =>
    plan(['compatible', 'bridged'], { gallery: SIZE, limits: { accept: names } }).verdict;
  assert.deepEqual([accept('deploy').way, accept('deploy').accepted], ['deploy', true]);
  assert.deepEqual([accept('bridge', 'keep').way, accept('bridge', 'keep').accepted], ['bridge', true]);
  assert.deepEqual([accept('backfill').way, accept('backfill').accepted], ['keep', false]);
  assert.deepEqual([accept('backfill', 'keep').way, accept('backfill', 'keep').accepted], ['keep', true]);
});

test('deploying at the threshold of the old system is told from deploying with a new one', () => {
  const graded = (grade: NonNullable<Evaluation['candidates'][number]['dropIn']>['grade'], options = {}) => {
    const at = only(['compatible']);
    const candidates = at.evaluation.candidates.map((one) => ({ ...one, dropIn: { ...one.dropIn!, grade } }));
    return makePlan({
      evaluations: [{ ...at, evaluation: { ...at.evaluation, candidates } }],
      metric: METRIC,
      ...options,
    });
  };
  const same = graded('drop-in');
  assert.equal(same.verdict.summary, 'Deploy compatible at the same threshold. The gallery stays as it is.');
  assert.doesNotMatch(same.verdict.why, /Threshold/);
  assert.deepEqual(same.verdict.cautions, []);
  const other = graded('new threshold');
  assert.equal(optionOf(other, 'deploy', 'compatible').dropIn, 'new threshold');
  const [there, before] = ['compatible', 'old'].map((query) => {
    const test = all.tests.find((one) => one.query === query && one.gallery === 'old')!;
    const { tar, far } = test.operatingPoint!.atOldThreshold;
    return { tar: (100 * tar.value).toFixed(2), far: (100 * far.value).toFixed(2) };
  }) as [Record<'tar' | 'far', string>, Record<'tar' | 'far', string>];
  assert.deepEqual(other.verdict.cautions, [
    `change the threshold with the model: at the old one TAR is ${there.tar} instead of ${before.tar} and FAR ${there.far} instead of ${before.far}`,
  ]);
  const limits = { accept: ['drop-in'] as const };
  for (const [grade, way] of [
    ['drop-in', 'deploy'],
    ['new threshold', 'keep'],
    ['no', 'keep'],
    ['withheld', 'keep'],
  ] as const)
    assert.deepEqual([graded(grade, { limits }).verdict.way, graded(grade, { limits }).verdict.accepted], [way, way === 'deploy'], grade); // biome-ignore format: short
});

test('a gain that is not larger than asked for does not count', () => {
  const { low } = rankOf('compatible', 'old').overOld;
  const asked = (minGain: number) => verdictOf(plan(['compatible'], { limits: { minGain } }));
  assert.deepEqual([asked(low - 1e-9), asked(low)], ['deploy compatible', 'keep old']);
});

test('the verdict warns of other metrics by which the chosen way falls behind', () => {
  const at = only(['compatible']);
  const worse = { value: -0.1, low: -0.2, high: -0.05 };
  const tests = at.evaluation.tests.map((one) => ({
    ...one,
    judged: one.judged!.map((entry) => (one.query === 'compatible' && entry.metric === 'TPIR@FPIR=1e-1' ? { ...entry, overOld: worse } : entry)), // biome-ignore format: short
  }));
  const made = makePlan({ evaluations: [{ ...at, evaluation: { ...at.evaluation, tests } }], metric: METRIC });
  assert.deepEqual(made.verdict.cautions.slice(1), ['by TPIR@FPIR=1e-1 it falls behind the old model: −10.00 [−20.00, −5.00] (judged by rank-1)']); // biome-ignore format: short
});

test('evaluations of other models stand in one plan if old model and protocol are the same', () => {
  const [one, other] = [judgeModels(['compatible'], { resamples: 20 }), judgeModels(['bridged'], { resamples: 20 })];
  const at = (path: string, evaluation: Evaluation): EvaluationAt => ({ path, evaluation });
  const together = (second: Evaluation) =>
    makePlan({ evaluations: [at('one', one), at('other', second)], metric: METRIC }).options.map(({ way, model }) => `${way} ${model}`); // biome-ignore format: short
  assert.deepEqual(together(other), ['keep old', 'deploy compatible', 'backfill compatible', 're-embed compatible', 'bridge bridged', 're-embed bridged']); // biome-ignore format: short
  assert.deepEqual(together(one).length, 4, 'one evaluation twice is one');
  const { identities: _, ...earlier } = other.protocol;
  assert.deepEqual(together({ ...other, protocol: earlier }), together(other), 'earlier ones do not tell identities');
  const different = { ...other, dataset: { ...other.dataset, digest: 'another' } };
  assert.throws(() => together(different), /^UserError: one and other judge different data/);
  assert.throws(() => together({ ...other, protocol: { ...other.protocol, seed: 1 } }), /draw different pairs/);
  const [first, ...rest] = other.tests;
  const shifted = { ...first!, judged: first!.judged!.map((entry) => ({ ...entry, value: { ...entry.value, value: 0.5 } })) }; // biome-ignore format: short
  assert.throws(() => together({ ...other, tests: [shifted, ...rest] }), /have different old models/);
  const renamed = JSON.parse(JSON.stringify(other).replaceAll('"bridged"', '"compatible"'));
  assert.throws(() => together(renamed), /have different models called compatible/);
});

test('evidence that a plan cannot be drawn from is refused', () => {
  const at = only(['compatible']);
  const planOf = (changes: Partial<Evaluation>, metric = METRIC) =>
    makePlan({ evaluations: [{ path: 'judged', evaluation: { ...at.evaluation, ...changes } }], metric });
  const { models, tests } = at.evaluation;
  assert.throws(() => planOf({ models: models.filter(({ role }) => role !== 'old') }), /judged has no old model/);
  assert.throws(() => planOf({ models: models.filter(({ role }) => role === 'old') }), /judges no new model/);
  assert.throws(() => planOf({ tests: tests.map(({ judged: _, ...test }) => test) }), /made by an earlier version/);
  assert.throws(() => planOf({}, 'TAR@FAR=1e-4'), /judged does not judge by TAR@FAR=1e-4\n.*rank-1/);
  assert.throws(() => planOf({}, 'rank-9'), /metric rank-9: wanted one of/);
  assert.throws(() => makePlan({ evaluations: [], metric: METRIC }), /nothing to plan from/);
  const nameless = JSON.parse(JSON.stringify(tests).replaceAll(/"low":[-\d.e]+/g, '"low":null'));
  assert.throws(() => planOf({ tests: nameless }), /rank-1 of \S+ → \S+ has no interval\n.*more identities/);
});
