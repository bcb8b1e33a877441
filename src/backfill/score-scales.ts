import type { Rows } from '../eval/scores.ts';
import type { ScoreMerge } from './simulation.ts';

/** Brings a score of one space to the scale that both share. It must not fall. */
export type ScoreMap = (score: number) => number;
/** Of rows that are not moved, and of those that are. */
export type ScoreScales = { readonly old: ScoreMap; readonly new: ScoreMap };

/**
 * A share of the score itself that a calibrated score gets. Scores that a calibration makes equal keep their order inside a space, so
 * that the ends of every curve are those of the scores as they are. It is far below any difference that matters between spaces.
 */
const TIE_BREAK = 1e-6;

/** A map that rises with the score wherever `map` does not fall. */
export const rising =
  (map: ScoreMap): ScoreMap =>
  (score) =>
    map(score) + TIE_BREAK * score;

const identity: ScoreMap = (score) => score;
export const directScales: ScoreScales = { old: identity, new: identity };

/** Scores on a common scale. [K] */
export function scaleAll(scores: Rows, map: ScoreMap): Rows {
  if (map === identity) return scores;
  const scaled = new Float64Array(scores.length);
  for (let i = 0; i < scores.length; i++) scaled[i] = map(scores[i]!);
  return scaled;
}

/** Bisections that end at neighbouring numbers of double precision. */
const BISECTIONS = 80;
/** Beyond any cosine. */
const MOST = 1.5;

/** The least score whose mapped score is at least `value`, up to rounding; infinite if there is none, and below any score, but above `NO_SCORE`, if all are. */
export function leastScore(map: ScoreMap, value: number): number {
  if (map === identity) return value;
  if (map(-MOST) >= value) return -Number.MAX_VALUE;
  if (map(MOST) < value) return Number.POSITIVE_INFINITY;
  let [low, high] = [-MOST, MOST]; // below, not below
  for (let i = 0; i < BISECTIONS; i++) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) break;
    if (map(middle) >= value) high = middle;
    else low = middle;
  }
  return high;
}

/** The merges in which scores themselves are compared, with their scales. */
export type ScaledMerge = { readonly merge: Exclude<ScoreMerge, 'rank-fusion'>; readonly scales: ScoreScales };
