import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import {
  estimate,
  impostorWeights,
  pairCounts,
  resampleIdentities,
  type ScoredPairs,
  sortPairsByScore,
} from './bootstrap.ts';
import { dropInTest } from './drop-in.ts';
import { type DropInTest, evaluate, type ModelFeatures, search, tpir } from './index.ts';
import { farAbove, type MeasuredOperatingPoint, measureOperatingPoint, tarAbove } from './operating-point.ts';
import { tarAtMost, thresholdAtMost } from './roc.ts';
import { withholdVerdicts } from './withhold-verdicts.ts';

/** Sums in another order. */
const DOUBLE = 1e-12;

const near = (actual: number, expected: number, tolerance: number, what = ''): void =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what} ${actual}, wanted ${expected}`);

const share = (values: readonly number[], holds: (value: number) => boolean): number =>
  values.filter(holds).length / values.length;

test('rates at a threshold, the threshold that keeps the FAR, and their intervals are those of identities written out', () => {
  const rng = new Rng(21);
  const identities = 9;
  const column = (n: number): Int32Array => Int32Array.from({ length: n }, () => rng.integer(identities));
  const own = column(40);
  // few different scores: many tie with the threshold
  const genuine: ScoredPairs = { score: Float32Array.from(own, () => (2 + rng.integer(10)) / 8), a: own, b: own };
  const impostor: ScoredPairs = {
    score: Float32Array.from({ length: 90 }, () => rng.integer(8) / 8),
    a: column(90),
    b: column(90),
  };
  const [probes, entries] = [50, 4];
  const probeIdentity = column(probes);
  const similarity = Float32Array.from({ length: probes * entries }, () => rng.integer(9) / 8);
  const galleries = [0, entries].map((from) =>
    search(
      similarity.slice(),
      probeIdentity.map((s) => (s >= from && s < from + entries ? s - from : -1)),
      { size: entries },
    ),
  );
  const drawn = resampleIdentities(identities, 30, new Rng(1));
  const totals = impostorWeights(pairCounts(impostor, identities), drawn);
  const [sortedGenuine, sortedImpostor] = [sortPairsByScore(genuine), sortPairsByScore(impostor)];
  const rising = (score: Float32Array): Float32Array => score.slice().sort();
  const [far, oldThreshold] = [0.5, 0.625];
  const ownThreshold = thresholdAtMost(rising(impostor.score), far);
  const measured = measureOperatingPoint(
    {
      genuine: sortedGenuine,
      impostor: sortedImpostor,
      searches: galleries,
      keepingFar: { tar: { value: 0.5, replicates: new Float64Array(30).fill(0.5) }, threshold: ownThreshold },
    },
    { far, oldThreshold },
    { identities, drawn, totals, probeIdentity, rng: new Rng(2) },
  );

  /** The rates of a sample in which identity s stands as often as `weights` says. */
  const writtenOut = (weights: Uint16Array, threshold: number) => {
    const repeat = (value: number, times: number): number[] => new Array<number>(times).fill(value);
    const g = Array.from(genuine.score).flatMap((x, k) => repeat(x, weights[genuine.a[k]!]!));
    const i = Array.from(impostor.score).flatMap((x, k) =>
      repeat(x, weights[impostor.a[k]!]! * weights[impostor.b[k]!]!),
    );
    const ofProbes = galleries.map(({ own, best, ahead }) => {
      const asked = Array.from(probeIdentity.keys()).flatMap((p) => repeat(p, weights[probeIdentity[p]!]!));
      const [known, unknown] = [asked.filter((p) => ahead[p]! >= 0), asked.filter((p) => ahead[p]! < 0)];
      return [
        share(known, (p) => ahead[p] === 0 && own[p]! > threshold),
        share(unknown, (p) => best[p]! > threshold),
      ] as const;
    });
    const above = (x: number): boolean => x > threshold;
    return {
      tar: share(g, above),
      far: share(i, above),
      tpir: (ofProbes[0]![0] + ofProbes[1]![0]) / 2,
      fpir: (ofProbes[0]![1] + ofProbes[1]![1]) / 2,
      threshold: thresholdAtMost(rising(Float32Array.from(i)), far),
    };
  };
  const once = new Uint16Array(identities).fill(1);
  for (const [name, at, threshold] of [
    ['atOldThreshold', measured.result.atOldThreshold, oldThreshold],
    ['keepingFar', measured.result.keepingFar, ownThreshold],
  ] as const) {
    // the threshold that keeps the FAR is found again in each resample
    const found = (weights: Uint16Array): number =>
      name === 'keepingFar' ? writtenOut(weights, threshold).threshold : threshold;
    const replicates = drawn.map((weights) => writtenOut(weights, found(weights)));
    for (const rate of name === 'keepingFar' ? (['tpir', 'fpir'] as const) : (['tar', 'tpir', 'fpir'] as const)) {
      const wanted = estimate(
        writtenOut(once, threshold)[rate],
        Float64Array.from(replicates, (of) => of[rate]),
      );
      for (const end of ['value', 'low', 'high'] as const)
        near(at[rate][end], wanted[end], DOUBLE, `${name} ${rate} ${end}:`);
    }
  }
  const replicates = drawn.map((weights) => writtenOut(weights, oldThreshold));
  const { far: measuredFar, falseAccepts } = measured.result.atOldThreshold;
  near(measuredFar.value, writtenOut(once, oldThreshold).far, DOUBLE);
  assert.equal(falseAccepts, impostor.score.filter((x) => x > oldThreshold).length);
  for (const [r, { tar, far }] of replicates.entries()) {
    near(measured.tar.replicates![r]!, tar, DOUBLE, `TAR of resample ${r}:`);
    near(measured.far.replicates![r]!, far, DOUBLE, `FAR of resample ${r}:`);
  }
  const { threshold } = measured.result.keepingFar;
  assert.deepEqual(
    threshold,
    estimate(
      ownThreshold,
      Float64Array.from(replicates, (of) => of.threshold),
    ),
  );
  for (const found of galleries) assert.ok(tpir(found, oldThreshold) >= 0);
  const { calibration } = measured.result;
  assert.ok(calibration);
});

const [CLASSES, EACH, DIM] = [120, 6, 24];
const labels = Int32Array.from({ length: CLASSES * EACH }, (_, i) => Math.floor(i / EACH));
const centres = new Rng('centres');
const centre = Array.from({ length: CLASSES * DIM }, () => centres.uniform() - 0.5);

/**
 * Embeddings around the direction of each class, all of one length, and two dimensions more: `own` is in one of them, where the old model has
 * nothing, so that cosines with it shrink; `common` in the other, of all models and images, so that they grow.
 */
function model(name: string, noise: number, { own = 0, common = 0.8 } = {}): ModelFeatures {
  const rng = new Rng(name);
  const rows = Array.from(labels).flatMap((label) => {
    const row = Array.from({ length: DIM }, (_, d) => centre[label * DIM + d]! + noise * (rng.uniform() - 0.5));
    const length = Math.hypot(...row);
    return [...row.map((x) => x / length), own, common];
  });
  return { name, rows: Float32Array.from(rows), dim: DIM + 2 };
}

const world = {
  title: 'thresholds',
  dataset: { path: 'p', digest: 'd' },
  labels,
  families: new Int32Array(labels.length).fill(-1),
  impostors: 60_000,
  resamples: 150,
  old: model('old', 1.2),
};

test('a better model of the same scale is a drop-in; of another scale it needs a new threshold; a worse one is neither', () => {
  const evaluation = evaluate({
    ...world,
    candidates: [
      model('better', 0.7),
      model('lower', 0.7, { own: 0.6 }),
      model('higher', 0.7, { common: 1.6 }),
      model('worse', 1.6),
    ],
  });
  const of = (name: string) => ({
    dropIn: evaluation.candidates.find((candidate) => candidate.name === name)!.dropIn!,
    crossed: evaluation.tests.find(({ query, gallery }) => query === name && gallery === 'old')!.operatingPoint!,
  });
  const grades = evaluation.candidates.map(({ name, dropIn }) => [name, dropIn!.grade]);
  assert.deepEqual(grades, [
    ['better', 'drop-in'],
    ['lower', 'new threshold'],
    ['higher', 'new threshold'],
    ['worse', 'no'],
  ]);
  const { threshold, far } = evaluation.operatingPoint!;
  assert.equal(far, 1e-3);
  const oldOld = evaluation.tests[0]!;
  assert.equal(threshold, oldOld.verification!.tar.find((entry) => entry.far === 1e-3)!.threshold);
  assert.equal(oldOld.operatingPoint!.atOldThreshold.tar.value, oldOld.verification!.tar[3]!.atMost);
  assert.ok(oldOld.operatingPoint!.atOldThreshold.far.value <= 1e-3);
  const [lower, higher] = [of('lower'), of('higher')];
  assert.ok(lower.dropIn.tarDifference.high < 0 && lower.crossed.keepingFar.threshold.high < threshold);
  assert.ok(higher.dropIn.tarDifference.low > 0 && higher.dropIn.farDifference.low > 0);
  assert.ok(higher.crossed.keepingFar.threshold.low > threshold);
  for (const { dropIn } of [lower, higher]) assert.ok(dropIn.ownThresholdDifference.low > 0);
  for (const { verification, operatingPoint } of evaluation.tests) {
    assert.equal(operatingPoint!.keepingFar.tar.value, verification!.tar[3]!.atMost, 'TAR at FAR 1e-3');
    assert.deepEqual(operatingPoint!.keepingFar.tar, verification!.tar[3]!.interval);
  }
  const withheld = withholdVerdicts(evaluation, { trial: true }).candidates.map(({ dropIn }) => dropIn!.grade);
  assert.deepEqual([...new Set(withheld)], ['withheld']);
});

test('the FAR that a system runs at moves the old threshold, and with it all figures', () => {
  const candidates = [model('better', 0.7)];
  const [strict, lax] = [1e-4, 0.05].map((far) => evaluate({ ...world, candidates, far }));
  assert.ok(strict!.operatingPoint!.threshold > lax!.operatingPoint!.threshold);
  for (const [evaluation, far] of [
    [strict!, 1e-4],
    [lax!, 0.05],
  ] as const) {
    assert.equal(evaluation.operatingPoint!.far, far);
    const { atOldThreshold } = evaluation.tests[0]!.operatingPoint!;
    assert.ok(atOldThreshold.far.value <= far && atOldThreshold.far.value > 0.95 * far);
  }
  assert.equal(lax!.candidates[0]!.dropIn!.grade, 'drop-in');
  assert.ok(strict!.candidates[0]!.dropIn!.falseAccepts < 30);
  assert.notEqual(strict!.candidates[0]!.dropIn!.grade, 'drop-in', '6 false accepts are too few');
  const same = (evaluation: typeof lax) => evaluation!.tests.map(({ operatingPoint: _, ...rest }) => rest);
  assert.deepEqual(same(strict), same(lax), 'nothing else depends on it');
});

/** A test at an operating point: TAR and FAR of half the width `spread`. */
function point(tar: number, far: number, { spread = 0.01, farSpread = 1e-4, falseAccepts = 1000, keeping = tar } = {}) {
  const measured = (value: number, width: number) => ({
    value,
    replicates: Float64Array.from({ length: 101 }, (_, i) => value + (width * (i - 50)) / 50),
  });
  const interval = (value: number, width: number) => estimate(value, measured(value, width).replicates);
  return {
    oldThreshold: 0.4,
    tar: measured(tar, spread),
    far: measured(far, farSpread),
    tarKeepingFar: measured(keeping, spread),
    falseAccepts,
    result: { atOldThreshold: { tar: interval(tar, spread), far: interval(far, farSpread) } },
  } as unknown as MeasuredOperatingPoint;
}

test('a drop-in needs a larger TAR, a FAR that is not larger and surely below twice, and thirty false accepts', () => {
  const oldOld = point(0.7, 1e-3, { spread: 0, farSpread: 0 });
  const grade = (newOld: MeasuredOperatingPoint, base = oldOld): DropInTest['grade'] =>
    dropInTest({ oldOld: base, newOld }, 1e-3).grade;
  assert.equal(grade(point(0.75, 1.05e-3)), 'drop-in');
  assert.equal(grade(point(0.75, 0.2e-3)), 'drop-in');
  assert.equal(grade(point(0.705, 1e-3, { keeping: 0.75 })), 'new threshold', 'TAR is not surely larger');
  assert.equal(grade(point(0.75, 1.2e-3)), 'new threshold', 'FAR is larger');
  assert.equal(grade(point(0.75, 1.2e-3, { farSpread: 9e-4 })), 'new threshold', 'it may be twice as large');
  assert.equal(
    grade(point(0.75, 1e-3), point(0.7, 1e-3, { spread: 0, farSpread: 0, falseAccepts: 29 })),
    'new threshold',
  );
  assert.equal(grade(point(0.6, 0.1e-3, { keeping: 0.75 })), 'new threshold', 'TAR is smaller there');
  assert.equal(grade(point(0.6, 1e-3)), 'no');
  assert.equal(grade(point(0.705, 1e-3)), 'no', 'no difference can be told');
  const collapsed = point(0, 1e-3, { spread: 0, farSpread: 0 });
  assert.equal(grade(point(1.1e-3, 1e-3, { spread: 2e-4, keeping: 5e-4 }), collapsed), 'no', 'it is at chance');
});

/** Sum of twelve uniform numbers: about normal, of variance 1. */
const normal = (rng: Rng): number => Array.from({ length: 12 }, () => rng.uniform()).reduce((sum, x) => sum + x, -6);

test('intervals at a threshold cover the truth, and are as wide as estimates scatter', () => {
  const [identities, sets] = [60, 100];
  const threshold = 0.45;
  /** Scores with an effect of each identity, so that pairs of one are alike. */
  const simulate = (rng: Rng, count: number, ofEach: number) => {
    const effect = Float64Array.from({ length: count }, () => normal(rng));
    const own = Int32Array.from({ length: ofEach * count }, (_, k) => k % count);
    const a = Int32Array.from({ length: 20 * count }, () => rng.integer(count));
    const b = a.map((s) => (s + 1 + rng.integer(count - 1)) % count);
    const genuine = own.map((_, k) => k);
    return {
      genuine: {
        score: Float32Array.from(genuine, (k) => 0.6 + 0.1 * effect[own[k]!]! + 0.1 * normal(rng)),
        a: own,
        b: own,
      },
      impostor: {
        score: Float32Array.from(a, (s, k) => 0.3 + 0.05 * (effect[s]! + effect[b[k]!]!) + 0.1 * normal(rng)),
        a,
        b,
      },
    };
  };
  const all = simulate(new Rng('population'), 20_000, 4);
  const truth = {
    tar: all.genuine.score.filter((x) => x > threshold).length / all.genuine.score.length,
    far: all.impostor.score.filter((x) => x > threshold).length / all.impostor.score.length,
  };
  const found = Array.from({ length: sets }, (_, r) => {
    const rng = new Rng('set').split(r);
    const { genuine, impostor } = simulate(rng, identities, 4);
    const drawn = resampleIdentities(identities, 120, rng.split('bootstrap'));
    const totals = impostorWeights(pairCounts(impostor, identities), drawn);
    const tar = tarAbove(sortPairsByScore(genuine), threshold, drawn);
    const far = farAbove(sortPairsByScore(impostor), threshold, { identities, drawn, totals });
    return { tar: estimate(tar.value, tar.replicates), far: estimate(far.value, far.replicates) };
  });
  for (const rate of ['tar', 'far'] as const) {
    const covered = found.filter((of) => of[rate].low <= truth[rate] && truth[rate] <= of[rate].high).length;
    assert.ok(covered >= 87, `${rate}: ${covered} of ${sets} intervals cover ${truth[rate]}`); // 95 less 3.7 standard deviations
    const mean = found.reduce((sum, of) => sum + of[rate].value, 0) / sets;
    const deviation = Math.sqrt(found.reduce((sum, of) => sum + (of[rate].value - mean) ** 2, 0) / (sets - 1));
    const width = found.reduce((sum, of) => sum + of[rate].high - of[rate].low, 0) / sets;
    near(width / deviation, 3.92, 1, `${rate}: mean width in standard deviations`); // that of 100 estimates is known to 7 %
  }
});

test('tiny sets, zeros and constant models give figures, and no grade but no', () => {
  const tiny = {
    ...world,
    labels: Int32Array.of(0, 0, 1, 1, 2, 2),
    families: new Int32Array(6).fill(-1),
    old: { name: 'old', dim: 2, rows: Float32Array.of(1, 0, 1, 0.2, 0, 1, 0.1, 1, -1, 0, -1, 0.1) },
    maxZeroShare: 1,
  };
  const constant = { name: 'constant', dim: 2, rows: new Float32Array(12).fill(1) };
  const zeros = { name: 'zeros', dim: 2, rows: new Float32Array(12) };
  const evaluation = evaluate({ ...tiny, candidates: [constant, zeros, { ...tiny.old, name: 'same' }] });
  for (const { dropIn } of evaluation.candidates) assert.equal(dropIn!.grade, 'no');
  const ofZeros = evaluation.tests.find(({ query }) => query === 'zeros')!.operatingPoint!;
  assert.deepEqual([ofZeros.atOldThreshold.tar.value, ofZeros.atOldThreshold.far.value], [0, 0]);
  assert.equal(ofZeros.calibration, null);
  const { operatingPoint } = evaluation.tests[0]!;
  assert.ok(operatingPoint!.calibration);
  const scores = { genuine: Float32Array.of(0.5), impostor: Float32Array.of(0.1) };
  assert.equal(tarAtMost(scores, 1e-3), 1);
});
