import { optionHint, UserError } from '../base/errors.ts';
import { countOf } from '../base/progress.ts';
import type { Batch } from '../data/index.ts';
import { copy_, emptyLike, foreach, keep, noGrad, scope, stack, type Tensor, toNumbers } from '../torch/index.ts';
import { allReduceAny } from './collectives.ts';
import { type Session, sessionState } from './session.ts';
import type { StepResult } from './train-step.ts';

/** How a manifest counts batches that were left out. */
const COUNTED = {
  loss: 'batches left out for a loss that is not finite',
  gradient: 'batches left out for a gradient that is not finite',
} as const;

/** A step that came to nothing. */
type Failure = {
  /** Steps taken before it. */
  readonly step: number;
  readonly loss: number;
  readonly terms: Readonly<Record<string, number>>;
  readonly batch: Pick<Batch, 'indices'>;
};

/** Where skipped batches are counted. */
type Counting = {
  readonly counts: ReadonlyMap<string, number>;
  count(what: string, by: number): void;
};

/**
 * What happens when a loss or its gradient is not finite: the run stops, or so many times goes on as if the batch had never
 * been seen. The step has changed no weight then, but running statistics and what the method remembers, which are put back.
 */
export class NonFiniteLossPolicy {
  readonly #allowed: number;
  /** What a step changes beside weights, and its values before the step. */
  readonly #remembered: readonly (readonly [now: Tensor, before: Tensor])[];

  constructor(allowed: number, session: Session) {
    this.#allowed = allowed;
    // only fp16 goes on after a step without being told to
    const changing = allowed > 0 || session.scaler ? [...changedByForward(session)] : [];
    this.#remembered = changing.map((now) => [now, keep(emptyLike(now))]);
  }

  /** Call it before each step. */
  snapshot(): void {
    noGrad(() => {
      for (const [now, before] of this.#remembered) copy_(before, now);
    });
  }

  /** Puts back what a step has changed that is left out. */
  discard(): void {
    noGrad(() => {
      for (const [now, before] of this.#remembered) copy_(now, before);
    });
  }

  /** Call it after each step: undoes what a skipped step has changed. @throws UserError as `handle` */
  settle(result: StepResult, batch: Failure['batch'], run: Counting & { readonly step: number }): void {
    const { loss, terms, finite, gradNorm } = result;
    if (!finite) this.handle({ step: run.step, loss, terms, batch }, run);
    else if (Number.isNaN(gradNorm)) this.discard();
  }

  /** @throws UserError with step, terms and samples if the run has skipped as many batches as it may. */
  handle(failure: Failure, run: Counting): void {
    const already = Object.values(COUNTED).reduce((sum, what) => sum + (run.counts.get(what) ?? 0), 0);
    const what = Number.isFinite(failure.loss) ? 'gradient' : 'loss';
    if (already >= this.#allowed) throw notFinite(what, failure, already);
    run.count(COUNTED[what], 1);
    this.discard();
  }

  dispose(): void {
    for (const [, before] of this.#remembered) before.dispose();
  }
}

/** Running statistics, and what the method writes into in each step. */
function* changedByForward({ backbone, projection, head, method }: Session): Generator<Tensor> {
  const modules = [backbone, ...(projection ? [projection] : []), head, ...Object.values(method.modules ?? {})];
  for (const module of modules) {
    const learned = new Set([...module.parameters()].map(([path]) => path));
    for (const [path, value] of module.state()) if (!learned.has(path)) yield value;
  }
  yield* method.written ?? [];
}

function notFinite(what: 'loss' | 'gradient', { step, terms, batch }: Failure, already: number): UserError {
  const shown = Object.entries(terms).map(([name, value]) => `${name} ${value}`);
  return new UserError(
    `the ${what} is not finite at step ${step + 1}: ${shown.join(', ')}${already > 0 ? `, after ${countOf(already, 'batch', 'batches')} left out` : ''}\n` +
      `  samples: ${Array.from(batch.indices).join(', ')}`,
    {
      hint: [
        'lower optimizer.lr or raise schedule.warmupEpochs',
        // a run that fails at its first step leaves nothing to go on from
        step === 0
          ? optionHint('give --skip-non-finite n to go on past n such batches')
          : optionHint('go on from the last checkpoint with --resume, past n such batches with --skip-non-finite n'),
      ],
    },
  );
}

/** Names that are listed. */
const MOST_NAMED = 5;

/**
 * Weights can become infinite by an update whose gradient is finite; a model of such weights is none.
 * @throws UserError naming the tensors, in every process if they are not finite in one.
 */
export function requireFiniteState(session: Session, step: number, saved: number | undefined): void {
  const state = [...sessionState(session)].filter(([, value]) => value.dtype === 'float32' && value.numel > 0);
  const largest = scope(() => noGrad(() => toNumbers(stack(foreach.largest(state.map(([, value]) => value))))));
  const bad = state.flatMap(([name], i) => (Number.isFinite(largest[i]) ? [] : [name]));
  if (!allReduceAny(session.group, bad.length > 0)) return;
  const named = bad.slice(0, MOST_NAMED).join(', ') || 'those of another process';
  const more = bad.length > MOST_NAMED ? ` and ${bad.length - MOST_NAMED} more` : '';
  const stands = saved === undefined ? '' : `; the checkpoint of step ${saved} stands`;
  throw new UserError(`the model's numbers are not finite after step ${step}: ${named}${more}${stands}`, {
    hint: 'training has diverged: lower optimizer.lr or raise schedule.warmupEpochs, and start anew with --force',
  });
}
