import { add_, foreach, keep, noGrad, ones, scope, type Tensor, zeros, zerosLike } from '../torch/index.ts';
import { type ChosenRows, type LrFactor, type Optimizer, updateWithGradients } from './optimizer.ts';

export type AdamWOptions = {
  readonly weightDecay?: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  readonly lrFactor?: LrFactor;
};

/** Adam with decoupled weight decay (arXiv:1711.05101, algorithm 2) in PyTorch's form and with its defaults. */
export class AdamW implements Optimizer {
  readonly #parameters: readonly Tensor[];
  readonly #means: readonly Tensor[];
  readonly #squares: readonly Tensor[];
  readonly #steps: Tensor; // [1] float64: steps taken
  readonly #options: Required<AdamWOptions>;

  constructor(
    parameters: readonly Tensor[],
    { weightDecay = 0.01, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, lrFactor = () => 1 }: AdamWOptions = {},
  ) {
    this.#parameters = parameters.filter((p) => p.requiresGrad);
    const blank = () => noGrad(() => this.#parameters.map((p) => keep(zerosLike(p))));
    this.#means = blank();
    this.#squares = blank();
    this.#steps = keep(zeros([1], { dtype: 'float64', device: 'cpu' })); // read in each step
    this.#options = { weightDecay, beta1, beta2, eps, lrFactor };
  }

  /** As in the reference, all rows share one step count for bias correction, also rows that were not chosen. */
  step(lr: number, chosen: ChosenRows | null = null): void {
    const { weightDecay, beta1, beta2, eps, lrFactor } = this.#options;
    const owned = { parameters: this.#parameters, states: [this.#means, this.#squares], lrFactor };
    scope(() =>
      noGrad(() => {
        add_(this.#steps, ones([1], { dtype: 'float64', device: 'cpu' }));
        const t = this.#steps.item();
        updateWithGradients(owned, chosen, (ps, gs, [ms, ss], factor) => {
          const rate = lr * factor;
          foreach.mul_(ps, 1 - rate * weightDecay);
          foreach.mul_(ms!, beta1);
          foreach.add_(ms!, gs, 1 - beta1);
          foreach.mul_(ss!, beta2);
          foreach.addcmul_(ss!, gs, gs, 1 - beta2);
          const scale = foreach.sqrt(ss!); // √(s / (1-β₂ᵗ)) + ε
          foreach.div_(scale, Math.sqrt(1 - beta2 ** t));
          foreach.addScalar_(scale, eps);
          foreach.addcdiv_(ps, ms!, scale, -rate / (1 - beta1 ** t));
        });
      }),
    );
  }

  *state(): Generator<[string, Tensor]> {
    for (const [i, m] of this.#means.entries()) yield [`mean.${i}`, m];
    for (const [i, s] of this.#squares.entries()) yield [`square.${i}`, s];
    yield ['steps', this.#steps];
  }

  statesOf(parameter: Tensor): readonly Tensor[] {
    return [...this.#means, ...this.#squares].filter(
      (_, i) => this.#parameters[i % this.#parameters.length] === parameter,
    );
  }

  dispose(): void {
    for (const [, value] of this.state()) value.dispose();
  }
}
