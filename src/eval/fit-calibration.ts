import { UserError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import type { ScoredPairs } from './bootstrap.ts';
import {
  type Calibration,
  type ChosenCalibration,
  calibrateOne,
  type IsotonicCalibration,
  type PlattCalibration,
} from './calibration.ts';
import { NO_SCORE, type Rows } from './scores.ts';

/** Scores of genuine and of impostor pairs, in any order. A score of -∞ (an embedding is zeros) has no part in a fit. */
export type CalibrationScores = { readonly genuine: Rows; readonly impostor: Rows };

/** More scores of a side than this are thinned to about as many: evenly spaced ones in order of size, which is closer than a random draw. */
const MOST_SCORES = 200_000;

/**
 * Fits the kind of calibration that has the smaller log loss on held-out identities. Pairs are sorted by falling score. The identities are
 * drawn into two halves; each half is judged by the fit of the other, by pairs with both sides in it. The chosen kind is then fitted on all.
 * Of more than 200,000 scores of a side, about as many are taken, evenly in order of size.
 * Platt is chosen at equal losses, and if a half has no genuine or no impostor pair.
 * @throws UserError if there is no genuine or no impostor pair, or a score is not a number.
 */
export function chooseCalibration(
  genuine: ScoredPairs,
  impostor: ScoredPairs,
  { identities, rng }: { readonly identities: number; readonly rng: Rng },
): ChosenCalibration {
  const inFirst = new Uint8Array(identities);
  const all = Int32Array.from({ length: identities }, (_, s) => s);
  for (const s of rng.split('halves').sample(all, Math.ceil(identities / 2))) inFirst[s] = 1;
  const halves = [1, 0].map((side) => {
    const half = (pairs: ScoredPairs): Rows => thinned(scoresWithin(pairs, inFirst, side));
    return withScores({ genuine: half(genuine), impostor: half(impostor) });
  });
  const scores = { genuine: thinned(genuine.score), impostor: thinned(impostor.score) };
  if (halves.some((part) => part.genuine.length === 0 || part.impostor.length === 0))
    return { calibration: fitPlatt(scores), heldOut: null };
  const [first, second] = halves as [CalibrationScores, CalibrationScores];
  const lossOf = (fit: (scores: CalibrationScores) => Calibration): number =>
    (logLoss(fit(first), second) + logLoss(fit(second), first)) / 2;
  const heldOut = { platt: lossOf(fitPlatt), isotonic: lossOf(fitIsotonic) };
  return { calibration: heldOut.isotonic < heldOut.platt ? fitIsotonic(scores) : fitPlatt(scores), heldOut };
}

/** Scores of the pairs with both identities on one side. */
function scoresWithin({ score, a, b }: ScoredPairs, sideOf: Uint8Array, side: number): Float32Array {
  const found = new Float32Array(score.length);
  let count = 0;
  for (let k = 0; k < score.length; k++)
    if (sideOf[a[k]!] === side && sideOf[b[k]!] === side) found[count++] = score[k]!;
  return found.subarray(0, count);
}

/** Every k-th of sorted scores, so that at most about `MOST_SCORES` are left. */
function thinned(sorted: Float32Array): Float32Array {
  const every = Math.ceil(sorted.length / MOST_SCORES);
  if (every <= 1) return sorted;
  const middle = Math.floor(every / 2); // of each group
  return Float32Array.from(
    { length: Math.ceil((sorted.length - middle) / every) },
    (_, k) => sorted[middle + k * every]!,
  );
}

/**
 * Mean log loss of a calibration, genuine and impostor pairs weighing one half each. Pairs with an embedding of zeros are skipped.
 */
export function logLoss(calibration: Calibration, scores: CalibrationScores): number {
  const { genuine, impostor } = withScores(scores);
  const meanLoss = (of: Rows, sign: number): number => {
    let sum = 0;
    for (let k = 0; k < of.length; k++) sum += softplus(sign * calibrateOne(calibration, of[k]!));
    return sum / of.length;
  };
  return (meanLoss(genuine, -1) + meanLoss(impostor, 1)) / 2;
}

/** ln(1 + exp(x)) without overflow. */
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/** What Platt 1999 fits to instead of 1 and 0, so that separable scores have a finite fit: (N₊ + 1) / (N₊ + 2) and 1 / (N₋ + 2). */
const smoothedTargets = ({ genuine, impostor }: CalibrationScores) => ({
  genuine: (genuine.length + 1) / (genuine.length + 2),
  impostor: 1 / (impostor.length + 2),
});

/** Newton steps that suffice from any data; the last ones change nothing. */
const MOST_STEPS = 100;
/** A gradient of a mean loss that is zero up to rounding. */
const FLAT = 1e-12;
/** Share of the decrease that the slope promises which a step must bring (Armijo). */
const SUFFICIENT_DECREASE = 1e-4;
const SMALLEST_STEP = 1e-10;

/**
 * Fits a logistic function by maximum likelihood with smoothed targets (Platt, Probabilistic outputs for support vector machines, 1999),
 * by Newton's method with backtracking (Lin, Lin and Weng, A note on Platt's probabilistic outputs, 2007). Here genuine pairs weigh as
 * much as impostor pairs in all, and the slope is at least 0: where larger scores are less likely genuine, it is 0.
 * @throws UserError if there is no genuine or no impostor pair, or a score is not a number.
 */
export function fitPlatt(scores: CalibrationScores): PlattCalibration {
  const kept = requireScores(scores);
  const targets = smoothedTargets(kept);
  const sides = [
    { of: kept.genuine, target: targets.genuine },
    { of: kept.impostor, target: targets.impostor },
  ];
  const flat = Math.log((targets.genuine + targets.impostor) / (2 - targets.genuine - targets.impostor));
  let [slope, intercept] = [0, flat];
  let at = lossAndDerivatives(sides, slope, intercept);
  for (let step = 0; step < MOST_STEPS; step++) {
    const [g0, g1] = at.gradient;
    if (Math.max(Math.abs(g0), Math.abs(g1)) < FLAT) break;
    if (step === 0 && g0 >= 0) break; // the loss is convex: its minimum over slopes ≥ 0 is at 0
    const [h00, h01, h11] = at.hessian;
    const determinant = h00 * h11 - h01 * h01;
    if (!(determinant > 0)) break; // all scores are equal up to rounding
    const d0 = -(h11 * g0 - h01 * g1) / determinant;
    const d1 = -(h00 * g1 - h01 * g0) / determinant;
    const promised = g0 * d0 + g1 * d1;
    let size = 1;
    for (; size >= SMALLEST_STEP; size /= 2) {
      const tried = lossAndDerivatives(sides, slope + size * d0, intercept + size * d1);
      if (tried.loss < at.loss + SUFFICIENT_DECREASE * size * promised) {
        at = tried;
        break;
      }
    }
    if (size < SMALLEST_STEP) break; // rounding: no step is better
    slope += size * d0;
    intercept += size * d1;
  }
  return { kind: 'platt', slope, intercept };
}

type Side = { readonly of: Rows; readonly target: number };

/** The loss of a logistic function, and its first and second derivatives by slope and intercept. */
function lossAndDerivatives(sides: readonly Side[], slope: number, intercept: number) {
  let loss = 0;
  const gradient: [number, number] = [0, 0];
  const hessian: [number, number, number] = [0, 0, 0];
  for (const { of, target } of sides) {
    let [sum, g0, g1, h00, h01, h11] = [0, 0, 0, 0, 0, 0];
    for (let k = 0; k < of.length; k++) {
      const score = of[k]!;
      const z = slope * score + intercept;
      const small = Math.exp(-Math.abs(z));
      sum += Math.max(z, 0) + Math.log1p(small) - target * z;
      const p = (z >= 0 ? 1 : small) / (1 + small);
      const [residual, curvature] = [p - target, p * (1 - p)];
      g0 += residual * score;
      g1 += residual;
      h00 += curvature * score * score;
      h01 += curvature * score;
      h11 += curvature;
    }
    const weight = 1 / (2 * of.length);
    loss += weight * sum;
    gradient[0] += weight * g0;
    gradient[1] += weight * g1;
    hessian[0] += weight * h00;
    hessian[1] += weight * h01;
    hessian[2] += weight * h11;
  }
  return { loss, gradient, hessian };
}

/**
 * Fits a function that never falls, by pool-adjacent-violators (Ayer and others 1955) with smoothed targets; genuine pairs weigh as much
 * as impostor pairs in all. Each block is a knot at its mean score, and the function is linear between knots (centred isotonic regression,
 * Oron and Flournoy 2017), so that it orders the scores inside a block, too. `outerSlope` is the mean slope between the outer knots.
 * @throws UserError if there is no genuine or no impostor pair, or a score is not a number.
 */
export function fitIsotonic(scores: CalibrationScores): IsotonicCalibration {
  const { genuine, impostor } = requireScores(scores);
  const targets = smoothedTargets({ genuine, impostor });
  const [weightOfGenuine, weightOfImpostor] = [1 / (2 * genuine.length), 1 / (2 * impostor.length)];
  const [rising, risingImpostors] = [ascending(genuine), ascending(impostor)];
  const blocks: Block[] = [];
  // impostors are in one block with the genuine score that they are not below: alone they would never rise
  for (let g = 0, i = 0; g < rising.length || i < risingImpostors.length; ) {
    const score = g === 0 && risingImpostors[i]! < rising[0]! ? Number.NEGATIVE_INFINITY : rising[g]!;
    const [fromG, fromI] = [g, i];
    while (rising[g] === score) g++;
    const next = rising[g] ?? Number.POSITIVE_INFINITY;
    let sum = 0;
    while (i < risingImpostors.length && risingImpostors[i]! < next) sum += risingImpostors[i++]!;
    const block = {
      genuine: g - fromG,
      impostor: i - fromI,
      weightedScore: (g > fromG ? (g - fromG) * score * weightOfGenuine : 0) + sum * weightOfImpostor,
    };
    // the larger share of genuine pairs is the larger rate; whole numbers tell equal ones exactly
    for (
      let last = blocks.at(-1);
      last && last.genuine * block.impostor >= block.genuine * last.impostor;
      last = blocks.at(-1)
    ) {
      block.genuine += last.genuine;
      block.impostor += last.impostor;
      block.weightedScore += last.weightedScore;
      blocks.pop();
    }
    blocks.push(block);
  }
  const [scoresOfKnots, logOdds]: [number[], number[]] = [[], []];
  for (const block of blocks) {
    const [ofGenuine, ofImpostor] = [block.genuine * weightOfGenuine, block.impostor * weightOfImpostor];
    scoresOfKnots.push(block.weightedScore / (ofGenuine + ofImpostor));
    const likely = ofGenuine * targets.genuine + ofImpostor * targets.impostor;
    const unlikely = ofGenuine * (1 - targets.genuine) + ofImpostor * (1 - targets.impostor);
    logOdds.push(Math.log(likely / unlikely));
  }
  const outerSlope =
    blocks.length < 2 ? 0 : (logOdds.at(-1)! - logOdds[0]!) / (scoresOfKnots.at(-1)! - scoresOfKnots[0]!);
  return { kind: 'isotonic', scores: scoresOfKnots, logOdds, outerSlope };
}

/** The scores in rising order. */
function ascending(scores: Rows): Rows {
  const falls = scores.every((score, k) => k === 0 || score <= scores[k - 1]!);
  return falls ? scores.toReversed() : scores.slice().sort();
}

/** Pairs of neighbouring scores, by their numbers and the sum of their weighted scores. */
type Block = { genuine: number; impostor: number; weightedScore: number };

/** The scores without those of embeddings of zeros. */
const withScores = ({ genuine, impostor }: CalibrationScores): CalibrationScores => {
  const finite = (scores: Rows): Rows => (scores.includes(NO_SCORE) ? scores.filter((x) => x !== NO_SCORE) : scores);
  return { genuine: finite(genuine), impostor: finite(impostor) };
};

function requireScores(scores: CalibrationScores): CalibrationScores {
  const kept = withScores(scores);
  for (const [what, of] of Object.entries(kept)) {
    if (of.length === 0) throw new UserError(`there is no ${what} pair with a score: nothing can be calibrated`);
    const wrong = of.findIndex((score) => !Number.isFinite(score));
    if (wrong >= 0) throw new UserError(`score ${wrong} of the ${what} pairs is ${of[wrong]}, wanted a finite number`);
  }
  return kept;
}
