import { native } from './native.ts';
import { detach, to } from './ops.ts';
import { scope } from './scope.ts';
import { defaultGenerator } from './tensor.ts';
import type { Dtype, Tensor } from './tensor-types.ts';

export type BackwardOptions = { readonly retainGraph?: boolean; readonly createGraph?: boolean };

/** A checkpointed part of a forward pass, which `backward` recomputes. */
type Stretch = {
  readonly output: Tensor;
  readonly randomState: Tensor;
  readonly casting: Casting;
  readonly run: (again: boolean) => Tensor;
};
const stretches: Stretch[] = [];

/**
 * Activation checkpointing: returns `run(false)` without storing activations. `backward` calls `run(true)` with the same random
 * numbers and autocast. `run` may read parameters and tensors that live until then; its temporaries are freed at once. Each pass
 * can be differentiated once, by `backward` and not by `gradients`.
 */
export function checkpointed(run: (again: boolean) => Tensor): Tensor {
  if (!native.gradEnabled()) return run(false);
  const randomState = defaultGenerator().state;
  const output = requireGrad(noGrad(() => scope(() => detach(run(false)))));
  stretches.push({ output, randomState, casting: castingNow(), run });
  return output;
}

/**
 * Differentiates the checkpointed parts from the last to the `done`-th. Each adds to the gradient of its input, and may contain
 * checkpointed parts itself.
 */
function backwardThroughStretches(done = 0): void {
  while (stretches.length > done) {
    const stretch = stretches.pop()!;
    const { output, randomState, casting, run } = stretch;
    // a pass whose scope has ended was never meant to be differentiated
    const gradient = output.isDisposed ? null : output.grad;
    if (!gradient) continue;
    const random = defaultGenerator();
    const outer = stretches.length;
    scope(() => {
      const now = random.state;
      random.state = randomState;
      const recomputed = underCasting(casting, () => run(true));
      // a part without learned tensors ends the backward pass
      if (recomputed.requiresGrad) native.backward([recomputed], [gradient], false, false);
      backwardThroughStretches(outer);
      random.state = now;
    });
    output.grad = null;
  }
}

/** Adds d`loss`/d`leaf` to the `grad` of every leaf that requires it. `loss` is a scalar. */
export function backward(loss: Tensor, { retainGraph = false, createGraph = false }: BackwardOptions = {}): void {
  if (stretches.length > 0 && (retainGraph || createGraph))
    throw new TypeError('backward: a pass with checkpointed parts can be differentiated once');
  native.backward([loss], [null], retainGraph, createGraph);
  backwardThroughStretches();
}

/** d`output`/d`inputs` of a scalar, without changing any `grad`; null for an input that `output` does not depend on. */
export function gradients(
  output: Tensor,
  inputs: readonly Tensor[],
  { retainGraph = false, createGraph = false }: BackwardOptions = {},
): (Tensor | null)[] {
  return native.grad([output], inputs, [null], retainGraph, createGraph, true);
}

/** Sets `requiresGrad` of a leaf and returns it. */
export const requireGrad = (x: Tensor, flag = true): Tensor => native.setRequiresGrad(x, flag);

/** Runs `body` without recording for autograd, as `torch.no_grad`. */
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

/** What autocast does on each kind of device. */
type Casting = Readonly<Record<'cpu' | 'cuda', ReturnType<typeof native.autocast>>>;
const castingNow = (): Casting => ({ cpu: native.autocast('cpu'), cuda: native.autocast('cuda') });

function underCasting<T>(casting: Casting, body: () => T): T {
  const before = castingNow();
  const set = ({ cpu, cuda }: Casting): void => {
    native.setAutocast('cpu', cpu.enabled, cpu.dtype);
    native.setAutocast('cuda', cuda.enabled, cuda.dtype);
  };
  set(casting);
  try {
    return body();
  } finally {
    set(before);
  }
}

export type AutocastOptions = { readonly device?: 'cpu' | 'cuda'; readonly dtype?: Dtype };

/**
 * Runs `body` with libtorch's autocast choosing the precision of each operator: convolutions and products in `dtype`, what
 * needs range or digits in float32. Call `backward` outside.
 */
export const autocast = <T>(body: () => T, { device = 'cpu', dtype = 'bfloat16' }: AutocastOptions = {}): T =>
  underCasting({ ...castingNow(), [device]: { enabled: true, dtype } }, body);

/** Runs `body` on `x` in float32, with autocast off. Without autocast it changes nothing. */
export function inFloat32(x: Tensor, body: (x: Tensor) => Tensor): Tensor {
  const now = castingNow();
  if (!now.cpu.enabled && !now.cuda.enabled) return body(x);
  const off = { cpu: { ...now.cpu, enabled: false }, cuda: { ...now.cuda, enabled: false } };
  return underCasting(off, () => body(to(x, { dtype: 'float32' })));
}
