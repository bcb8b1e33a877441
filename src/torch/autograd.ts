import { native } from './native.ts';
import type { Dtype, Tensor } from './tensor.ts';

export type BackwardOptions = { readonly retainGraph?: boolean; readonly createGraph?: boolean };

/** Adds d`loss`/d`leaf` to the `grad` of every leaf that requires it. `loss` is a scalar. */
export function backward(loss: Tensor, { retainGraph = false, createGraph = false }: BackwardOptions = {}): void {
  native.backward([loss], [null], retainGraph, createGraph);
}

/** d`output`/d`inputs` of a scalar, leaving every `grad` alone; null for an input that `output` does not depend on. */
export function gradients(
  output: Tensor,
  inputs: readonly Tensor[],
  { retainGraph = false, createGraph = false }: BackwardOptions = {},
): (Tensor | null)[] {
  return native.grad([output], inputs, [null], retainGraph, createGraph, true);
}

/** Marks a leaf as something to differentiate by, and returns it. */
export const requireGrad = (x: Tensor, flag = true): Tensor => native.setRequiresGrad(x, flag);

/** Runs `body` without recording for autograd. */
export function noGrad<T>(body: () => T): T {
  const before = native.gradEnabled();
  native.setGradEnabled(false);
  try {
    return body();
  } finally {
    native.setGradEnabled(before);
  }
}

/** Runs `body` in inference mode: faster than `noGrad`, and its tensors can never take part in autograd later. */
export function inference<T>(body: () => T): T {
  native.enterInference();
  try {
    return body();
  } finally {
    native.leaveInference();
  }
}

export type AutocastOptions = { readonly device?: 'cpu' | 'cuda'; readonly dtype?: Dtype };

/** Runs `body` with libtorch's autocast choosing the precision of each operator. */
export function autocast<T>(body: () => T, { device = 'cpu', dtype = 'bfloat16' }: AutocastOptions = {}): T {
  const before = native.autocast(device);
  native.setAutocast(device, true, dtype);
  try {
    return body();
  } finally {
    native.setAutocast(device, before.enabled, before.dtype);
  }
}
