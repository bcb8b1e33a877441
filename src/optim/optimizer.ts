import { add, replaceRows_, selectRows, type Tensor } from '../torch/index.ts';

/** The rows of a parameter that one step updates. The others keep value and momentum, without weight decay. */
export type ChosenRows = {
  /** The whole parameter, one of the optimiser's. [C, …] */
  readonly whole: Tensor;
  /** Row numbers, without duplicates. [K] int64 */
  readonly index: Tensor;
  /** A leaf with a copy of these rows. Their gradient is that of the leaf, plus that of `whole` at these rows if there is one. [K, …] */
  readonly rows: Tensor;
};

/** Updates parameters in place from their gradients. Parameters without a gradient do not change. */
export interface Optimizer {
  /**
   * One update at learning rate `lr`. Of `chosen.whole`, only the chosen rows are updated and written back at once, so parameters
   * and state are complete between steps (D-23). The update overwrites gradients.
   */
  step(lr: number, chosen?: ChosenRows | null): void;
  /** Every tensor that the next step depends on, by name, for checkpoints. Write into them to restore. */
  state(): Iterable<readonly [name: string, value: Tensor]>;
  /** The states of one parameter, in its shape. */
  statesOf(parameter: Tensor): readonly Tensor[];
  dispose(): void;
}

/** The learning rate of a parameter, as a factor of the step's. */
export type LrFactor = (parameter: Tensor) => number;

/** Operands of an in-place update: a parameter, its gradient and its states, or copies of their chosen rows. */
type Active = { readonly p: Tensor; readonly g: Tensor; readonly states: readonly Tensor[]; done(): void };

/** An optimiser's parameters, and each kind of state (momentum, …) in the same order. */
export type OptimizerState = {
  readonly parameters: readonly Tensor[];
  readonly states: readonly (readonly Tensor[])[];
  readonly lrFactor: LrFactor;
};
export type UpdateRule = (
  parameters: readonly Tensor[],
  gradients: readonly Tensor[],
  states: readonly (readonly Tensor[])[],
  lrFactor: number,
) => void;

/** Calls `update` once with all parameters of a learning rate that have a gradient. Call it inside a scope and `noGrad`. */
export function updateWithGradients(
  { parameters, states, lrFactor }: OptimizerState,
  chosen: ChosenRows | null,
  update: UpdateRule,
): void {
  const byFactor = new Map<number, Active[]>();
  for (const [i, p] of parameters.entries()) {
    const own = states.map((kind) => kind[i]!);
    const active = chosen?.whole === p ? rowsOf(chosen, own) : wholeOf(p, own);
    if (!active) continue;
    const factor = lrFactor(p);
    byFactor.set(factor, [...(byFactor.get(factor) ?? []), active]);
  }
  for (const [factor, active] of byFactor) {
    update(
      active.map(({ p }) => p),
      active.map(({ g }) => g),
      states.map((_, kind) => active.map((one) => one.states[kind]!)),
      factor,
    );
    for (const { done } of active) done();
  }
}

function wholeOf(p: Tensor, states: readonly Tensor[]): Active | null {
  const g = p.grad;
  return g && { p, g, states, done: () => undefined };
}

function rowsOf({ whole, index, rows }: ChosenRows, states: readonly Tensor[]): Active | null {
  const [own, others] = [rows.grad, whole.grad];
  const there = others && selectRows(others, index);
  const g = own && there ? add(own, there) : (own ?? there);
  if (!g) return null;
  const copies = states.map((state) => selectRows(state, index));
  const done = (): void => {
    replaceRows_(whole, index, rows);
    for (const [i, state] of states.entries()) replaceRows_(state, index, copies[i]!);
  };
  return { p: rows, g, states: copies, done };
}

/** Sets gradients to null, so that the next backward pass starts anew. */
export function clearGradients(parameters: Iterable<Tensor>): void {
  for (const p of parameters) p.grad = null;
}
