import assert from 'node:assert/strict';
import { test } from 'node:test';
import { golden, PRINTED } from '../../test/helpers/golden.ts';
import { Rng } from '../base/rng.ts';
import { shapeMismatch } from '../base/shape.ts';
import type { ScoredPairs } from './bootstrap.ts';
import { type Calibration, calibrate, calibrateOne, calibrationShape, probabilityOf } from './calibration.ts';
import { type CalibrationScores, chooseCalibration, fitIsotonic, fitPlatt, logLoss } from './fit-calibration.ts';

/** Sums in another order. */
const DOUBLE = 1e-12;
/** Newton's method ends where the gradient is about 1e-12; curvatures here are above 1e-3. */
const CONVERGED = 1e-8;

const near = (actual: number, expected: number, tolerance: number, what = ''): void =>
  assert.ok(
    Math.abs(actual - expected) <= tolerance * Math.max(1, Math.abs(expected)),
    `${what} ${actual}, wanted ${expected}`,
  );
const nearAll = (actual: ArrayLike<number>, expected: readonly number[], tolerance: number, what: string): void => {
  assert.equal(actual.length, expected.length, what);
  for (const [i, x] of expected.entries()) near(actual[i]!, x, tolerance, `${what} ${i}:`);
};
const array = (values: readonly number[]): Float64Array => Float64Array.from(values);
const logistic = (x: number): number => 1 / (1 + Math.exp(-x));

/** Sum of twelve uniform numbers: about normal, of variance 1. */
const normal = (rng: Rng): number => Array.from({ length: 12 }, () => rng.uniform()).reduce((sum, x) => sum + x, -6);

test('Platt and isotonic fits are those of NumPy, with ties, separable scores and one pair of each', () => {
  for (const [i, wanted] of golden('calibration.json').entries()) {
    const scores = { genuine: array(wanted.genuine), impostor: array(wanted.impostor) };
    const platt = fitPlatt(scores);
    near(platt.slope, wanted.slope, PRINTED, `slope of case ${i}:`);
    near(platt.intercept, wanted.intercept, PRINTED, `intercept of case ${i}:`);
    near(logLoss(platt, scores), wanted.loss, PRINTED, `loss of case ${i}:`);
    const isotonic = fitIsotonic(scores);
    nearAll(isotonic.scores, wanted.knots, PRINTED, `knots of case ${i}`);
    nearAll(isotonic.logOdds, wanted.logOdds, PRINTED, `log-odds of case ${i}`);
    nearAll(calibrate(isotonic, array(wanted.asked)), wanted.answered, CONVERGED, `answers of case ${i}`);
  }
});

test('Platt: the gradient by finite differences is zero at the fit', () => {
  const rng = new Rng(5);
  const scores = {
    genuine: Float64Array.from({ length: 50 }, () => 0.4 + 0.2 * normal(rng)),
    impostor: Float64Array.from({ length: 60_000 }, () => 0.1 + 0.2 * normal(rng)), // so many are first thinned
  };
  const fit = fitPlatt(scores);
  const [high, low] = [51 / 52, 1 / 60_002];
  const loss = (slope: number, intercept: number): number => {
    const of = (side: Float64Array, target: number): number =>
      side.reduce((sum, s) => {
        const p = logistic(slope * s + intercept);
        return sum - target * Math.log(p) - (1 - target) * Math.log(1 - p);
      }, 0) /
      (2 * side.length);
    return of(scores.genuine, high) + of(scores.impostor, low);
  };
  const step = 1e-5;
  const { slope, intercept } = fit;
  near((loss(slope + step, intercept) - loss(slope - step, intercept)) / (2 * step), 0, 1e-9);
  near((loss(slope, intercept + step) - loss(slope, intercept - step)) / (2 * step), 0, 1e-9);
});

/** The isotonic fit of every score by its max-min formula: max over a ≤ k of min over b ≥ k of the mean of a … b. */
function maxMin({ genuine, impostor }: CalibrationScores): Map<number, number> {
  const [g, i] = [genuine.length, impostor.length];
  const all = [
    ...Array.from(genuine, (score) => ({ score, weight: 1 / (2 * g), target: (g + 1) / (g + 2) })),
    ...Array.from(impostor, (score) => ({ score, weight: 1 / (2 * i), target: 1 / (i + 2) })),
  ];
  const values = [...new Set(all.map(({ score }) => score))].sort((a, b) => a - b);
  const mean = (from: number, to: number): number => {
    const within = all.filter(({ score }) => score >= from && score <= to);
    return (
      within.reduce((sum, { weight, target }) => sum + weight * target, 0) /
      within.reduce((sum, { weight }) => sum + weight, 0)
    );
  };
  const fit = (k: number): number =>
    Math.max(...values.slice(0, k + 1).map((from) => Math.min(...values.slice(k).map((to) => mean(from, to)))));
  return new Map(values.map((value, k) => [value, fit(k)]));
}

test('isotonic: the blocks are those of the max-min formula, with ties and any order of scores', () => {
  const rng = new Rng(11);
  for (let round = 0; round < 40; round++) {
    const draw = (most: number, shift: number) =>
      Float64Array.from({ length: 1 + rng.integer(most) }, () => (rng.integer(8) + shift) / 10);
    const scores = { genuine: draw(12, 2), impostor: draw(20, 0) };
    const { logOdds, scores: knots } = fitIsotonic(scores);
    // neighbours whose rates differ by rounding are one block
    const wanted = [...maxMin(scores).values()]
      .map((rate) => Math.log(rate / (1 - rate)))
      .filter((odds, k, all) => k === 0 || odds > all[k - 1]! + DOUBLE);
    nearAll(logOdds, wanted, DOUBLE, `round ${round}`);
    for (const side of [knots, logOdds])
      for (let k = 1; k < side.length; k++) assert.ok(side[k]! > side[k - 1]!, `round ${round}: knots rise`);
  }
});

/** Genuine and impostor scores whose log-odds are `slope` · score + `intercept`: normal, of one variance. */
function planted(
  rng: Rng,
  { slope, intercept }: { readonly slope: number; readonly intercept: number },
  count: number,
) {
  const deviation = 0.15;
  const between = slope * deviation ** 2; // of the two means
  const middle = -intercept / slope;
  const side = (mean: number, length: number) => Float64Array.from({ length }, () => mean + deviation * normal(rng));
  return { genuine: side(middle + between / 2, count), impostor: side(middle - between / 2, 4 * count) };
}

test('a planted logistic is recovered by both kinds, and both never fall', () => {
  const truth = { slope: 14, intercept: -4 };
  const scores = planted(new Rng(3), truth, 20_000);
  const platt = fitPlatt(scores);
  near(platt.slope, truth.slope, 0.03);
  near(platt.intercept, truth.intercept, 0.03);
  const isotonic = fitIsotonic(scores);
  const asked = Float64Array.from({ length: 81 }, (_, k) => k / 80);
  for (const calibration of [platt, isotonic]) {
    const answers = calibrate(calibration, asked);
    for (let k = 1; k < answers.length; k++)
      assert.ok(answers[k]! > answers[k - 1]!, `${calibration.kind} at ${asked[k]}`);
  }
  // where there are scores of both kinds; the tails of an isotonic fit rest on few
  for (const score of [0.15, 0.25, 0.35, 0.45])
    near(
      probabilityOf(calibrateOne(isotonic, score)),
      logistic(truth.slope * score + truth.intercept),
      0.05,
      `isotonic at ${score}:`,
    );
});

/** Pairs of `identities` with scores by `of(genuine, draw)`: two genuine pairs of each, and impostor pairs of any two. */
function pairsOf(identities: number, impostors: number, seed: number, of: (genuine: boolean, draw: Rng) => number) {
  const rng = new Rng(seed);
  const own = Int32Array.from({ length: 2 * identities }, (_, k) => k % identities);
  const genuine: ScoredPairs = { score: Float32Array.from(own, () => of(true, rng)), a: own, b: own };
  const a = Int32Array.from({ length: impostors }, () => rng.integer(identities));
  const b = a.map((s) => (s + 1 + rng.integer(identities - 1)) % identities);
  return { genuine, impostor: { score: Float32Array.from(a, () => of(false, rng)), a, b } };
}

test('the kind is chosen on held-out identities: a line by Platt, a bent curve by isotonic', () => {
  const line = pairsOf(300, 3000, 1, (genuine, rng) => (genuine ? 0.45 : 0.15) + 0.15 * normal(rng));
  // genuine scores at both sides of a gap: the log-odds are no line
  const bent = pairsOf(300, 3000, 2, (genuine, rng) =>
    genuine ? (rng.uniform() < 0.5 ? 0.2 : 0.9) + 0.02 * normal(rng) : 0.1 + 0.15 * rng.uniform(),
  );
  const choose = ({ genuine, impostor }: typeof line, seed = 4) =>
    chooseCalibration(genuine, impostor, { identities: 300, rng: new Rng(seed) });
  const [ofLine, ofBent] = [choose(line), choose(bent)];
  assert.equal(ofLine.calibration.kind, 'platt');
  assert.equal(ofBent.calibration.kind, 'isotonic');
  for (const { heldOut } of [ofLine, ofBent]) assert.ok(heldOut!.platt < Math.LN2 && heldOut!.isotonic < Math.LN2);
  assert.deepEqual(ofLine.calibration, fitPlatt({ genuine: line.genuine.score, impostor: line.impostor.score }));
  assert.deepEqual(choose(bent), ofBent);
  assert.notDeepEqual(choose(bent, 5).heldOut, ofBent.heldOut);
});

test('an identity that is judged by has no part in the fit that it judges', () => {
  const label = pairsOf(80, 2000, 6, (genuine, rng) => (genuine ? 0.5 : 0.3) + 0.1 * normal(rng));
  const { heldOut } = chooseCalibration(label.genuine, label.impostor, { identities: 80, rng: new Rng(1) });
  const inFirst = new Set(
    new Rng(1).split('halves').sample(
      Int32Array.from({ length: 80 }, (_, s) => s),
      40,
    ),
  );
  const half = ({ score, a, b }: ScoredPairs, first: boolean): Float64Array =>
    Float64Array.from(score.filter((_, k) => inFirst.has(a[k]!) === first && inFirst.has(b[k]!) === first));
  const [first, second] = [true, false].map((side) => ({
    genuine: half(label.genuine, side),
    impostor: half(label.impostor, side),
  })) as [CalibrationScores, CalibrationScores];
  near(heldOut!.platt, (logLoss(fitPlatt(first), second) + logLoss(fitPlatt(second), first)) / 2, DOUBLE);
  near(heldOut!.isotonic, (logLoss(fitIsotonic(first), second) + logLoss(fitIsotonic(second), first)) / 2, DOUBLE);
});

test('too few identities to hold any out, scores of zeros, and larger scores that are less likely genuine', () => {
  const identity = Int32Array.of(0);
  const tiny = {
    genuine: { score: Float32Array.of(0.5), a: identity, b: identity },
    impostor: { score: Float32Array.of(0.1), a: identity, b: Int32Array.of(1) },
  };
  const chosen = chooseCalibration(tiny.genuine, tiny.impostor, { identities: 2, rng: new Rng(0) });
  assert.equal(chosen.heldOut, null);
  assert.equal(chosen.calibration.kind, 'platt');

  const scores = { genuine: Float64Array.of(0.4, 0.6, 0.5), impostor: Float64Array.of(0.1, 0.45, 0.2) };
  const withZeros = {
    genuine: Float64Array.of(0.4, Number.NEGATIVE_INFINITY, 0.6, 0.5),
    impostor: Float64Array.of(Number.NEGATIVE_INFINITY, 0.1, 0.45, 0.2),
  };
  for (const fit of [fitPlatt, fitIsotonic]) {
    assert.deepEqual(fit(withZeros), fit(scores));
    assert.equal(calibrateOne(fit(scores), Number.NEGATIVE_INFINITY), Number.NEGATIVE_INFINITY);
    const reversed = fit({ genuine: scores.impostor, impostor: scores.genuine });
    const answers = calibrate(reversed, Float64Array.of(0, 0.3, 0.9));
    assert.ok(
      answers.every((odds, k) => k === 0 || odds >= answers[k - 1]!),
      'it never falls',
    );
    near(answers[2]! - answers[0]!, 0, 0.6, 'and hardly rises');
  }
  assert.equal(fitPlatt({ genuine: scores.impostor, impostor: scores.genuine }).slope, 0);
  const equal = { genuine: Float64Array.of(0.3, 0.3), impostor: Float64Array.of(0.3) };
  for (const fit of [fitPlatt, fitIsotonic]) assert.ok(Number.isFinite(calibrateOne(fit(equal), 0.7)));
});

test('scores that nothing can be fitted to are refused', () => {
  const some = Float64Array.of(0.1, 0.2);
  for (const fit of [fitPlatt, fitIsotonic]) {
    assert.throws(() => fit({ genuine: some, impostor: new Float64Array() }), /no impostor pair with a score/);
    const zeros = Float64Array.of(Number.NEGATIVE_INFINITY);
    assert.throws(() => fit({ genuine: zeros, impostor: some }), /no genuine pair with a score/);
    const wrong = Float64Array.of(0.1, Number.NaN);
    assert.throws(
      () => fit({ genuine: some, impostor: wrong }),
      /score 1 of the impostor pairs is NaN, wanted a finite/,
    );
  }
});

test('a calibration is JSON, works on single precision and in place, and its probability is 1/2 at log-odds 0', () => {
  const calibrations: Calibration[] = [
    { kind: 'platt', slope: 10, intercept: -3 },
    { kind: 'isotonic', scores: [0.1, 0.5], logOdds: [-2, 3], outerSlope: 12.5 },
  ];
  for (const calibration of calibrations) {
    assert.equal(shapeMismatch(calibration, calibrationShape), null);
    const again = JSON.parse(JSON.stringify(calibration));
    const scores = Float32Array.of(0, 0.3, 0.5, 1);
    const wanted = calibrate(calibration, scores);
    assert.deepEqual(calibrate(again, scores), wanted);
    const inPlace = scores.slice();
    assert.equal(calibrate(calibration, inPlace, inPlace), inPlace);
    assert.deepEqual(inPlace, Float32Array.from(wanted));
  }
  nearAll(calibrate(calibrations[1]!, array([0, 0.1, 0.3, 0.5, 0.6])), [-3.25, -2, 0.5, 3, 4.25], DOUBLE, 'by hand');
  assert.equal(probabilityOf(0), 0.5);
  assert.equal(probabilityOf(Number.NEGATIVE_INFINITY), 0);
});
