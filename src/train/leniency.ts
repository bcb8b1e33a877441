import { optionHint, UserError } from '../base/errors.ts';
import type { Batch } from '../data/index.ts';
import { copy_, emptyLike, keep, noGrad, type Tensor } from '../torch/index.ts';
import type { Journal } from './journal.ts';
import type { Session } from './session.ts';

const COUNTED = 'batches left out for a loss that is not finite';

/** A step that came to nothing. */
type Failure = {
  /** Steps taken before it. */
  readonly step: number;
  readonly terms: Readonly<Record<string, number>>;
  readonly batch: Pick<Batch, 'indices'>;
};

/**
 * What happens when a loss is not finite: the run stops, or so many times goes on as if the batch had never been seen. The
 * step has changed no weight then, but running statistics, which are put back.
 */
export class Leniency {
  readonly #allowed: number;
  /** Running statistics and their values before the step. */
  readonly #remembered: readonly (readonly [now: Tensor, before: Tensor])[];

  constructor(allowed: number, session: Session) {
    this.#allowed = allowed;
    const statistics = allowed > 0 ? [...runningStatistics(session)] : [];
    this.#remembered = statistics.map((now) => [now, keep(emptyLike(now))]);
  }

  /** Call it before each step. */
  remember(): void {
    noGrad(() => {
      for (const [now, before] of this.#remembered) copy_(before, now);
    });
  }

  /** @throws UserError with step, terms and samples if the run has left out as many batches as it may. */
  excuse(failure: Failure, journal: Pick<Journal, 'count' | 'counts'>): void {
    const already = journal.counts[COUNTED] ?? 0;
    if (already >= this.#allowed) throw notFinite(failure, already);
    journal.count(COUNTED, 1);
    noGrad(() => {
      for (const [now, before] of this.#remembered) copy_(now, before);
    });
  }

  dispose(): void {
    for (const [, before] of this.#remembered) before.dispose();
  }
}

function* runningStatistics({ backbone, method }: Session): Generator<Tensor> {
  for (const module of [backbone, ...Object.values(method.modules ?? {})]) {
    const learned = new Set([...module.parameters()].map(([path]) => path));
    for (const [path, value] of module.state()) if (!learned.has(path)) yield value;
  }
}

function notFinite({ step, terms, batch }: Failure, already: number): UserError {
  const shown = Object.entries(terms).map(([name, value]) => `${name} ${value}`);
  return new UserError(
    `the loss is not finite at step ${step + 1}: ${shown.join(', ')}${already > 0 ? `, after ${already} batches left out` : ''}\n` +
      `  samples: ${Array.from(batch.indices).join(', ')}`,
    {
      hint: [
        'lower optimizer.lr or raise schedule.warmupEpochs',
        optionHint('go on from the last checkpoint with --resume, past n such batches with --skip-non-finite n'),
      ],
    },
  );
}
