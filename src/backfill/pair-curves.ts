import { atMostCount } from '../eval/roc.ts';
import type { Rows } from '../eval/scores.ts';
import { type ScoreScales, scaleAll } from './score-scales.ts';

/** Scores of pairs before and after the gallery's side is moved, and the row of that side. [K] each */
export type MovingPairs = { readonly old: Rows; readonly new: Rows; readonly row: Int32Array };

/** The pairs that decide the true accept rate at one FAR while rows move in any order, on one scale. */
export type TarPairs = {
  /** Impostor pairs that some mixture lets reach the threshold. */
  readonly impostors: MovingPairs;
  /** Impostor pairs that may lie above the threshold: ⌊FAR · all⌋. */
  readonly allowed: number;
  /** Scores below this are below the threshold in any mixture. */
  readonly least: number;
  readonly genuines: MovingPairs;
};

const scaled = ({ old, new: moved, row }: MovingPairs, scales: ScoreScales): MovingPairs => ({
  old: scaleAll(old, scales.old),
  new: scaleAll(moved, scales.new),
  row,
});

/**
 * Keeps the impostor pairs that matter. A mixture's score of a pair is at least min(old, new), so its threshold is at least that of
 * these minima, and a pair whose scores are both below has no part in it.
 */
export function pairsForTar(
  { genuine, impostor }: { readonly genuine: MovingPairs; readonly impostor: MovingPairs },
  far: number,
  scales: ScoreScales,
): TarPairs {
  const { old, new: moved, row } = scaled(impostor, scales);
  const minima = new Float64Array(row.length);
  for (let i = 0; i < row.length; i++) minima[i] = Math.min(old[i]!, moved[i]!);
  minima.sort();
  const allowed = atMostCount(far, row.length);
  const least = minima[row.length - 1 - allowed] ?? Number.NEGATIVE_INFINITY;
  const kept = new Int32Array(row.length);
  let count = 0;
  for (let i = 0; i < row.length; i++) if (old[i]! >= least || moved[i]! >= least) kept[count++] = i;
  const impostors = { old: new Float64Array(count), new: new Float64Array(count), row: new Int32Array(count) };
  for (let k = 0; k < count; k++) {
    const i = kept[k]!;
    impostors.old[k] = old[i]!;
    impostors.new[k] = moved[i]!;
    impostors.row[k] = row[i]!;
  }
  return { impostors, allowed, least, genuines: scaled(genuine, scales) };
}

/**
 * The largest true accept rate at FAR ≤ target at each of `shares` steps, as `tarAtMost` computes it. `steps` [N]: the step from
 * which on each row is moved.
 */
export function tarCurve(
  { impostors, genuines, allowed, least }: TarPairs,
  steps: Uint16Array,
  shares: number,
): Float64Array {
  const scores = new Float64Array(impostors.row.length);
  return Float64Array.from({ length: shares }, (_, s) => {
    let count = 0;
    for (let i = 0; i < impostors.row.length; i++) {
      const score = steps[impostors.row[i]!]! <= s ? impostors.new[i]! : impostors.old[i]!;
      if (score >= least) scores[count++] = score;
    }
    const sorted = scores.subarray(0, count).sort();
    const threshold = sorted[count - 1 - allowed] ?? Number.NEGATIVE_INFINITY;
    let accepted = 0;
    for (let i = 0; i < genuines.row.length; i++) {
      const score = steps[genuines.row[i]!]! <= s ? genuines.new[i]! : genuines.old[i]!;
      if (score > threshold) accepted++;
    }
    return accepted / genuines.row.length;
  });
}
