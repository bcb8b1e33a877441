import { Choice, Optional, type Shape } from '../base/shape.ts';
import { firstIndexWhere } from './binary-search.ts';
import type { Rows } from './scores.ts';

/**
 * Maps the scores of one comparison (cosines) to log-odds: the natural logarithm of P(genuine) / P(impostor) of a pair with this score, where
 * genuine and impostor pairs are equally frequent beforehand. These are log-likelihood ratios, so the scores of any two spaces are
 * comparable after it. 0 means as likely genuine as not. The map never falls. As JSON it is this object.
 */
export type Calibration = PlattCalibration | IsotonicCalibration;

/** log-odds = slope · score + intercept (Platt 1999). The slope is not negative. */
export type PlattCalibration = { readonly kind: 'platt'; readonly slope: number; readonly intercept: number };

/** Linear between knots, of which both coordinates rise, and beyond the outer knots with `outerSlope`. */
export type IsotonicCalibration = {
  readonly kind: 'isotonic';
  /** Scores of the knots. [K] */
  readonly scores: readonly number[];
  /** Log-odds of the knots. [K] */
  readonly logOdds: readonly number[];
  readonly outerSlope: number;
};

/** Mean log loss of each kind on identities that had no part in its fit, genuine and impostor pairs weighing one half each: ln 2 knows nothing. */
export type HeldOutLoss = { readonly platt: number; readonly isotonic: number };

/** A calibration, and how its kind was chosen. `heldOut` is null if there were too few identities to hold any out. */
export type ChosenCalibration = { readonly calibration: Calibration; readonly heldOut: HeldOutLoss | null };

/** The fields of a calibration, for definitions of artefacts. */
export const calibrationShape: Shape = {
  kind: new Choice('platt', 'isotonic'),
  slope: new Optional(0),
  intercept: new Optional(0),
  scores: new Optional([0]),
  logOdds: new Optional([0]),
  outerSlope: new Optional(0),
};

/**
 * Calibrates scores. [K] → log-odds [K], in `into` if it is given (`scores` itself is possible). The score of an embedding of zeros,
 * -∞, stays -∞. Single precision can make nearly equal scores equal.
 */
export function calibrate<T extends Rows = Float64Array>(
  calibration: Calibration,
  scores: Rows,
  into: T = new Float64Array(scores.length) as T,
): T {
  for (let k = 0; k < scores.length; k++) into[k] = calibrateOne(calibration, scores[k]!);
  return into;
}

/** Calibrates one score. */
export function calibrateOne(calibration: Calibration, score: number): number {
  if (score === Number.NEGATIVE_INFINITY) return score;
  if (calibration.kind === 'platt') return calibration.slope * score + calibration.intercept;
  const { scores, logOdds, outerSlope } = calibration;
  const next = firstIndexWhere(scores.length, (i) => scores[i]! > score);
  const last = Math.max(next - 1, 0);
  const from = logOdds[last]!;
  if (next === 0 || next === scores.length) return from + outerSlope * (score - scores[last]!);
  const [rise, run] = [logOdds[next]! - from, scores[next]! - scores[last]!];
  return Math.min(from + (rise / run) * (score - scores[last]!), logOdds[next]!); // rounding must not exceed the knot
}

/** Probability that a pair is genuine, of its log-odds, where genuine and impostor pairs are equally frequent beforehand. */
export const probabilityOf = (logOdds: number): number => 1 / (1 + Math.exp(-logOdds));
