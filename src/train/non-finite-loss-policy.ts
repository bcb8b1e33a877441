import { NonFiniteError, optionHint } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import type { Batch } from '../data/index.ts';
import { copy_, emptyLike, foreach, keep, noGrad, scope, stack, type Tensor, toNumbers } from '../torch/index.ts';
import { allReduceAny } from './collectives.ts';
import { type Session, sessionState } from './session.ts';
import type { StepResult } from './train-step.ts';

/** Names of the counts of skipped batches. */
const COUNTED = {
  loss: 'batches skipped for a non-finite loss',
  gradient: 'batches skipped for a non-finite gradient',
} as const;

/** A step with a non-finite loss or gradient. */
type Failure = {
  /** Steps taken before it. */
  readonly step: number;
  readonly loss: number;
  readonly terms: Readonly<Record<string, number>>;
  readonly batch: Pick<Batch, 'indices'>;
};

/** Where skipped batches are counted. */
type Counting = { readonly counts: ReadonlyMap<string, number>; count(what: string, by: number): void };

/**
 * What happens at a non-finite loss or gradient: the run stops, or skips the batch if it may skip more. Such a step has changed
 * no weight, but running statistics and the method's own state. `discard` restores them.
 */
export class NonFiniteLossPolicy {
  readonly #allowed: number;
  /** Tensors that a forward pass changes, and copies of them from before the step. */
  readonly #snapshots: readonly (readonly [now: Tensor, before: Tensor])[];

  constructor(allowed: number, session: Session) {
    this.#allowed = allowed;
    // without permission to skip, only fp16 continues after a bad step
    const changing = allowed > 0 || session.scaler ? [...changedByForward(session)] : [];
    this.#snapshots = changing.map((now) => [now, keep(emptyLike(now))]);
  }

  /** Copies what the next step may change. Call it before each step. */
  snapshot(): void {
    noGrad(() => {
      for (const [now, before] of this.#snapshots) copy_(before, now);
    });
  }

  /** Restores what a skipped step has changed. */
  discard(): void {
    noGrad(() => {
      for (const [now, before] of this.#snapshots) copy_(now, before);
    });
  }

  /** Restores what a skipped step has changed. Call it after each step. @throws NonFiniteError as `handle` */
  settle(result: StepResult, batch: Failure['batch'], run: Counting & { readonly step: number }): void {
    const { loss, terms, finite, gradNorm } = result;
    if (!finite) this.handle({ step: run.step, loss, terms, batch }, run);
    else if (Number.isNaN(gradNorm)) this.discard();
  }

  /** Counts a skipped batch. @throws NonFiniteError with step, terms and samples if the run may skip no more */
  handle(failure: Failure, run: Counting): void {
    const already = Object.values(COUNTED).reduce((sum, what) => sum + (run.counts.get(what) ?? 0), 0);
    const what = Number.isFinite(failure.loss) ? 'gradient' : 'loss';
    if (already >= this.#allowed) throw nonFiniteError(what, failure, already);
    run.count(COUNTED[what], 1);
    this.discard();
  }

  dispose(): void {
    for (const [, before] of this.#snapshots) before.dispose();
  }
}

/** Running statistics, and tensors that the method writes in each step. */
function* changedByForward({ backbone, projection, head, method }: Session): Generator<Tensor> {
  const modules = [backbone, ...(projection ? [projection] : []), head, ...Object.values(method.modules ?? {})];
  for (const module of modules) {
    const learned = new Set([...module.parameters()].map(([path]) => path));
    for (const [path, value] of module.state()) if (!learned.has(path)) yield value;
  }
  yield* method.written ?? [];
}

function nonFiniteError(what: 'loss' | 'gradient', { step, terms, batch }: Failure, already: number): NonFiniteError {
  const shown = Object.entries(terms).map(([name, value]) => `${name} ${value}`);
  return new NonFiniteError(
    `non-finite ${what} at step ${step + 1}: ${shown.join(', ')}${already > 0 ? `, after ${formatCount(already, 'skipped batch', 'skipped batches')}` : ''}\n` +
      `  samples: ${Array.from(batch.indices).join(', ')}`,
    {
      hint: [
        'lower optimizer.lr or raise schedule.warmupEpochs',
        // a run that fails at its first step has no checkpoint
        step === 0
          ? optionHint('skip up to n such batches with --skip-non-finite n')
          : optionHint(
              'resume from the last checkpoint with --resume, and skip up to n such batches with --skip-non-finite n',
            ),
      ],
    },
  );
}

/** Tensors that an error names. */
const MOST_NAMED = 5;

/**
 * Checks all weights and states, since an update with a finite gradient can still make them infinite.
 * @throws NonFiniteError naming the tensors, in every process if any process has such a tensor
 */
export function requireFiniteState(session: Session, step: number, saved: number | undefined): void {
  const state = [...sessionState(session)].filter(([, value]) => value.dtype === 'float32' && value.numel > 0);
  const largest = scope(() => noGrad(() => toNumbers(stack(foreach.largest(state.map(([, value]) => value))))));
  const bad = state.flatMap(([name], i) => (Number.isFinite(largest[i]) ? [] : [name]));
  if (!allReduceAny(session.group, bad.length > 0)) return;
  const named = bad.slice(0, MOST_NAMED).join(', ') || 'those of another process';
  const more = bad.length > MOST_NAMED ? ` and ${bad.length - MOST_NAMED} more` : '';
  const kept = saved === undefined ? '' : `; the checkpoint of step ${saved} is kept`;
  throw new NonFiniteError(`the model has non-finite numbers after step ${step}: ${named}${more}${kept}`, {
    hint: optionHint(
      'training has diverged: lower optimizer.lr or raise schedule.warmupEpochs, and start anew with --force',
    ),
  });
}
