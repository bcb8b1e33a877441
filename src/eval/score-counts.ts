import { UserError } from '../base/errors.ts';
import { countImpostors_, scope, share, type Tensor } from '../torch/index.ts';
import { atMostCount, type RocPoints } from './roc.ts';
import { GRID, NO_SCORE } from './scores.ts';

/** Genuine scores are looked up through this many equal steps of [-1, 1]. */
const STEPS = 1 << 16;
const stepOf = (score: number): number => Math.min(STEPS - 1, Math.max(0, Math.floor(((score + 1) * STEPS) / 2)));

/**
 * Counts of impostor scores between genuine scores. Error rates depend on nothing else, so memory grows with the genuine pairs,
 * of which protocols have few, and not with the impostors. The rates are exact.
 */
export class ScoreCounts {
  /** Ascending. [K] */
  readonly genuine: Float64Array;
  /** Impostors below genuine score k and above the one before; the last: above all. [K + 1] */
  readonly between: Float64Array;
  /** Impostors equal to genuine score k, counted at the first of equal ones. [K] */
  readonly tied: Float64Array;
  #impostors = 0;
  /** For each step of [-1, 1], how many genuine scores lie in lower steps. */
  readonly #first: Int32Array;

  /** @throws UserError if there is no genuine score. */
  constructor(genuine: Float64Array) {
    if (genuine.length === 0) throw new UserError('there is no genuine pair: nothing can be verified');
    this.genuine = genuine.slice().sort();
    this.between = new Float64Array(genuine.length + 1);
    this.tied = new Float64Array(genuine.length);
    this.#first = new Int32Array(STEPS + 1);
    for (const score of this.genuine) this.#first[stepOf(score) + 1]!++;
    for (let step = 0; step < STEPS; step++) this.#first[step + 1]! += this.#first[step]!;
  }

  get impostors(): number {
    return this.#impostors;
  }

  /** Counts the impostors among scores: those whose `same` is 0. */
  add(scores: Float64Array, same: Uint8Array): void {
    const { genuine, between, tied } = this;
    const of = (array: Float64Array | Int32Array | Uint8Array): Tensor => share(array);
    this.#impostors += scope(() =>
      countImpostors_(of(genuine), of(this.#first), of(scores), of(same), of(between), of(tied)),
    );
  }
}

/**
 * The ROC curve of counts, from (0, 0) to (1, 1), without points that lie evenly on a line between their neighbours: the
 * points of scikit-learn's `roc_curve` if no two impostors are equal (methods.md 6.5).
 */
export function rocOfCounts({ genuine, between, tied, impostors }: ScoreCounts): RocPoints {
  const [far, tar] = [[0], [0]];
  let [passed, accepted, before] = [0, 0, ''];
  const step = (across: number, up: number): void => {
    // consecutive impostors are a straight line: only its end can be a corner
    const name = up === 0 ? 'across' : `${across} ${up}`;
    if (name === before) for (const column of [far, tar]) column.pop();
    before = far.length === 1 ? '' : name; // scikit-learn adds (0, 0) afterwards: the first score's point always stays
    passed += across;
    accepted += up;
    far.push(passed / impostors);
    tar.push(accepted / genuine.length);
  };
  const run = (length: number): void => {
    if (length === 0) return;
    if (before === '' && length > 1) {
      step(1, 0);
      step(length - 1, 0);
    } else step(length, 0);
  };
  run(between[genuine.length]!);
  for (let k = genuine.length - 1; k >= 0; k--) {
    const last = k;
    while (k > 0 && genuine[k - 1] === genuine[last]) k--;
    step(tied[k]!, last - k + 1);
    run(between[k]!);
  }
  return { far, tar };
}

/** How many genuine scores are accepted, the highest first, with a share of at most `target` of the impostors. */
export const acceptedAtMost = (counts: ScoreCounts, target: number): number => thresholdAtMost(counts, target).accepted;

/**
 * A threshold above which as many genuine scores lie as `acceptedAtMost` accepts, and a share of at most `target` of the
 * impostors: half a step of rounding below the lowest accepted genuine score, so that searches, whose scores are not rounded, agree.
 * Infinite if none is accepted.
 */
export const thresholdOfCounts = (counts: ScoreCounts, target: number): number =>
  (counts.genuine[counts.genuine.length - acceptedAtMost(counts, target)] ?? Number.POSITIVE_INFINITY) - GRID / 2;

/** Genuine pairs rejected at one of `targets` because their score equals that of the first impostor rejected. */
export function tiedAtMost(counts: ScoreCounts, targets: readonly number[]): number {
  const tiedAfter = new Map<number, number>(); // how many are accepted → how many the next score ties
  for (const { accepted, tied } of targets.map((target) => thresholdAtMost(counts, target)))
    tiedAfter.set(accepted, Math.max(tied, tiedAfter.get(accepted) ?? 0));
  return [...tiedAfter.values()].reduce((sum, tied) => sum + tied, 0);
}

function thresholdAtMost(
  { genuine, between, tied, impostors }: ScoreCounts,
  target: number,
): { readonly accepted: number; readonly tied: number } {
  const allowed = atMostCount(target, impostors);
  let [passed, accepted] = [between[genuine.length]!, 0];
  for (let k = genuine.length - 1; k >= 0; k--) {
    const last = k;
    while (k > 0 && genuine[k - 1] === genuine[last]) k--;
    if (genuine[last] === NO_SCORE) break;
    const equal = tied[k]!;
    if (passed + equal > allowed) return { accepted, tied: passed > allowed ? 0 : last - k + 1 };
    accepted = genuine.length - k;
    passed += equal + between[k]!;
  }
  return { accepted, tied: 0 };
}
