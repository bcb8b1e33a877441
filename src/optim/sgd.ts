import { foreach, keep, noGrad, scope, type Tensor, zerosLike } from '../torch/index.ts';
import { type ChosenRows, type LrFactor, type Optimizer, updateWithGradients } from './optimizer.ts';

export type SgdOptions = { readonly momentum?: number; readonly weightDecay?: number; readonly lrFactor?: LrFactor };

/**
 * SGD with momentum as PyTorch computes it (dampening 0, no Nesterov):
 * `g += weightDecay·p; v = momentum·v + g; p -= lr·v`, with v = 0 before the first step.
 */
export class Sgd implements Optimizer {
  readonly #parameters: readonly Tensor[];
  readonly #velocities: readonly Tensor[];
  readonly #momentum: number;
  readonly #weightDecay: number;
  readonly #lrFactor: LrFactor;

  constructor(parameters: readonly Tensor[], { momentum = 0.9, weightDecay = 0, lrFactor = () => 1 }: SgdOptions = {}) {
    this.#parameters = parameters.filter((p) => p.requiresGrad);
    this.#velocities = noGrad(() => this.#parameters.map((p) => keep(zerosLike(p))));
    this.#momentum = momentum;
    this.#weightDecay = weightDecay;
    this.#lrFactor = lrFactor;
  }

  step(lr: number, chosen: ChosenRows | null = null): void {
    const owned = { parameters: this.#parameters, states: [this.#velocities], lrFactor: this.#lrFactor };
    scope(() =>
      noGrad(() =>
        updateWithGradients(owned, chosen, (ps, gs, [vs], factor) => {
          if (this.#weightDecay !== 0) foreach.add_(gs, ps, this.#weightDecay);
          foreach.mul_(vs!, this.#momentum);
          foreach.add_(vs!, gs);
          foreach.add_(ps, vs!, -lr * factor);
        }),
      ),
    );
  }

  *state(): Generator<[string, Tensor]> {
    for (const [i, v] of this.#velocities.entries()) yield [`velocity.${i}`, v];
  }

  statesOf(parameter: Tensor): readonly Tensor[] {
    return this.#velocities.filter((_, i) => this.#parameters[i] === parameter);
  }

  dispose(): void {
    for (const v of this.#velocities) v.dispose();
  }
}
