import type { Tensor } from '../torch/index.ts';

/** Updates parameters in place from their gradients. Parameters without a gradient are left alone. */
export interface Optimizer {
  /** One update at learning rate `lr`. Gradients are used up: their values afterwards mean nothing. */
  step(lr: number): void;
  /** Every tensor that the next step depends on, by name, for checkpoints. Write into them to restore. */
  state(): Iterable<readonly [name: string, value: Tensor]>;
  dispose(): void;
}

/** Forgets the gradients, so that the next backward pass writes fresh ones. */
export function clearGradients(parameters: Iterable<Tensor>): void {
  for (const p of parameters) p.grad = null;
}
