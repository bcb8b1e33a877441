import { UserError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import type { ScoredPairs } from './bootstrap.ts';
import { type Calibration, calibrateOne, type IsotonicCalibration, type PlattCalibration } from './calibration.ts';
import { NO_SCORE, type Rows } from './scores.ts';

/** Scores of genuine and of impostor pairs, in any order. A score of -∞ (an embedding is zeros) has no part in a fit. */
export type CalibrationScores = { readonly genuine: Rows; readonly impostor: Rows };

/** Mean log loss of each kind on identities that had no part in its fit, genuine and impostor pairs weighing one half each: ln 2 knows nothing. */
export type HeldOutLoss = { readonly platt: number; readonly isotonic: number };

/** A calibration, and how its kind was chosen. `heldOut` is null if there were too few identities to hold any out. */
export type ChosenCalibration = { readonly calibration: Calibration; readonly heldOut: HeldOutLoss | null };

/**
 * Fits the kind of calibration that has the smaller log loss on held-out identities. The identities are drawn into two halves; each half is
 * judged by the fit of the other, by pairs with both sides in it. The chosen kind is then fitted on all pairs.
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
  const half = (pairs: ScoredPairs, side: number): Rows =>
    pairs.score.filter((_, k) => inFirst[pairs.a[k]!] === side && inFirst[pairs.b[k]!] === side);
  const halves = [1, 0].map((side) => withScores({ genuine: half(genuine, side), impostor: half(impostor, side) }));
  const scores = withScores({ genuine: genuine.score, impostor: impostor.score });
  if (halves.some((part) => part.genuine.length === 0 || part.impostor.length === 0))
    return { calibration: fitPlatt(scores), heldOut: null };
  const [first, second] = halves as [CalibrationScores, CalibrationScores];
  const lossOf = (fit: (scores: CalibrationScores) => Calibration): number =>
    (logLoss(fit(first), second) + logLoss(fit(second), first)) / 2;
  const heldOut = { platt: lossOf(fitPlatt), isotonic: lossOf(fitIsotonic) };
  return { calibration: heldOut.isotonic < heldOut.platt ? fitIsotonic(scores) : fitPlatt(scores), heldOut };
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
  const lossAt = (slope: number, intercept: number): number => {
    let loss = 0;
    for (const { of, target } of sides) {
      let sum = 0;
      for (let k = 0; k < of.length; k++) {
        const z = slope * of[k]! + intercept;
        sum += softplus(z) - target * z;
      }
      loss += sum / (2 * of.length);
    }
    return loss;
  };
  const flat = Math.log((targets.genuine + targets.impostor) / (2 - targets.genuine - targets.impostor));
  let [slope, intercept] = [0, flat];
  let loss = lossAt(slope, intercept);
  for (let step = 0; step < MOST_STEPS; step++) {
    const { gradient, hessian } = derivatives(sides, slope, intercept);
    const [g0, g1] = gradient;
    if (Math.max(Math.abs(g0), Math.abs(g1)) < FLAT) break;
    if (step === 0 && g0 >= 0) break; // the loss is convex: its minimum over slopes ≥ 0 is at 0
    const [h00, h01, h11] = hessian;
    const determinant = h00 * h11 - h01 * h01;
    if (!(determinant > 0)) break; // all scores are equal up to rounding
    const d0 = -(h11 * g0 - h01 * g1) / determinant;
    const d1 = -(h00 * g1 - h01 * g0) / determinant;
    const promised = g0 * d0 + g1 * d1;
    let size = 1;
    for (; size >= SMALLEST_STEP; size /= 2) {
      const tried = lossAt(slope + size * d0, intercept + size * d1);
      if (tried < loss + SUFFICIENT_DECREASE * size * promised) {
        loss = tried;
        break;
      }
    }
    if (size < SMALLEST_STEP) break; // rounding: no step is better
    slope += size * d0;
    intercept += size * d1;
  }
  return { kind: 'platt', slope: Math.max(slope, 0), intercept };
}

type Side = { readonly of: Rows; readonly target: number };

/** First and second derivatives of the loss by slope and intercept. */
function derivatives(sides: readonly Side[], slope: number, intercept: number) {
  const gradient: [number, number] = [0, 0];
  const hessian: [number, number, number] = [0, 0, 0];
  for (const { of, target } of sides) {
    let [g0, g1, h00, h01, h11] = [0, 0, 0, 0, 0];
    for (let k = 0; k < of.length; k++) {
      const score = of[k]!;
      const p = 1 / (1 + Math.exp(-slope * score - intercept));
      const [residual, curvature] = [p - target, p * (1 - p)];
      g0 += residual * score;
      g1 += residual;
      h00 += curvature * score * score;
      h01 += curvature * score;
      h11 += curvature;
    }
    const weight = 1 / (2 * of.length);
    gradient[0] += weight * g0;
    gradient[1] += weight * g1;
    hessian[0] += weight * h00;
    hessian[1] += weight * h01;
    hessian[2] += weight * h11;
  }
  return { gradient, hessian };
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
  const [rising, risingImpostors] = [genuine.slice().sort(), impostor.slice().sort()];
  const blocks: Block[] = [];
  for (let g = 0, i = 0; g < rising.length || i < risingImpostors.length; ) {
    const score = Math.min(rising[g] ?? Number.POSITIVE_INFINITY, risingImpostors[i] ?? Number.POSITIVE_INFINITY);
    const [fromG, fromI] = [g, i];
    while (rising[g] === score) g++;
    while (risingImpostors[i] === score) i++;
    const pairs = { genuine: g - fromG, impostor: i - fromI };
    const weight = pairs.genuine * weightOfGenuine + pairs.impostor * weightOfImpostor;
    const block = { ...pairs, weightedScore: weight * score };
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
