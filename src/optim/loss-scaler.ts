import { all, copy_, finiteMask, foreach, keep, mul, noGrad, ones, scope, stack, type Tensor } from '../torch/index.ts';

export type LossScalerOptions = {
  readonly scale?: number;
  /** Clean steps in a row after which the scale grows. */
  readonly growEvery?: number;
  readonly growth?: number;
  readonly backoff?: number;
};

/**
 * Keeps small half-precision gradients from vanishing: multiplies the loss by a scale and divides the gradients by it. If a
 * gradient overflows, the caller skips the step and the scale falls. After many clean steps in a row it grows.
 *
 * PyTorch's `GradScaler` with the interval of the reference, 100 instead of 2000 (methods.md 2.7). Processes that share a
 * model must agree on the result of `unscale` before they act on it (D-22), so the scaler does not call the optimiser.
 */
export class LossScaler {
  readonly #scale: Tensor; // [1] float64
  readonly #cleanSteps: Tensor; // [1] float64: since the scale last changed
  readonly #growEvery: number;
  readonly #growth: number;
  readonly #backoff: number;

  constructor({ scale = 65536, growEvery = 100, growth = 2, backoff = 0.5 }: LossScalerOptions = {}) {
    this.#scale = keep(number(scale));
    this.#cleanSteps = keep(number(0));
    this.#growEvery = growEvery;
    this.#growth = growth;
    this.#backoff = backoff;
  }

  get scale(): number {
    return this.#scale.item();
  }

  /** The scaled loss, for `backward`. */
  scaled(loss: Tensor): Tensor {
    return mul(loss, this.scale);
  }

  /** Divides the gradients by the scale, in place. Returns whether all of them are finite. */
  unscale(parameters: readonly Tensor[]): boolean {
    return scope(() =>
      noGrad(() => {
        // a shard may hold no row, and an empty tensor has no largest number
        const gradients = parameters.flatMap((p) => (p.grad && p.grad.numel > 0 ? p.grad : []));
        if (gradients.length === 0) return true;
        foreach.mul_(gradients, 1 / this.scale);
        return all(finiteMask(stack(foreach.largest(gradients)))).item() === 1;
      }),
    );
  }

  /** Adapts the scale. Call it after each step, whether `clean` or skipped. */
  update(clean: boolean): void {
    const steps = clean ? this.#cleanSteps.item() + 1 : 0;
    const grows = steps === this.#growEvery;
    set(this.#scale, this.scale * (grows ? this.#growth : clean ? 1 : this.#backoff));
    set(this.#cleanSteps, grows ? 0 : steps);
  }

  /** Every tensor that the next step depends on, by name, for checkpoints. Write into them to restore. */
  *state(): Generator<[string, Tensor]> {
    yield ['scale', this.#scale];
    yield ['clean_steps', this.#cleanSteps];
  }

  dispose(): void {
    for (const [, value] of this.state()) value.dispose();
  }
}

const set = (into: Tensor, value: number): void => scope(() => void noGrad(() => copy_(into, number(value))));

/** A state that is read in each step, and so lives on the CPU: [1] float64. */
const number = (value: number): Tensor => mul(ones([1], { dtype: 'float64', device: 'cpu' }), value);
