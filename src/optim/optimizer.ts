import { add, replaceRows_, selectRows, type Tensor } from '../torch/index.ts';

/** The rows of a parameter that learn in one step. The others keep value and momentum, and do not decay, until they are chosen. */
export type ChosenRows = {
  /** One of the optimiser's parameters. [C, …] */
  readonly whole: Tensor;
  /** Which rows, none of them twice. [K] int64 */
  readonly index: Tensor;
  /** A leaf with a copy of them. Their gradient is its own and, where one reached `whole`, that of the rows there. [K, …] */
  readonly rows: Tensor;
};

/** Updates parameters in place from their gradients. Parameters without a gradient are left alone. */
export interface Optimizer {
  /**
   * One update at learning rate `lr`, of `chosen.whole` in its chosen rows alone, which are written back at once: between
   * steps parameters and state are complete (D-23). Gradients are used up: their values afterwards mean nothing.
   */
  step(lr: number, chosen?: ChosenRows | null): void;
  /** Every tensor that the next step depends on, by name, for checkpoints. Write into them to restore. */
  state(): Iterable<readonly [name: string, value: Tensor]>;
  /** Of that, what belongs to one parameter, row for row. */
  statesOf(parameter: Tensor): readonly Tensor[];
  dispose(): void;
}

/** What an update works on in place: a parameter, its gradient and its states, or copies of their chosen rows. */
type Active = { readonly p: Tensor; readonly g: Tensor; readonly states: readonly Tensor[]; done(): void };

/** Of one optimiser: its parameters, and each kind of state (momentum, …) in their order. */
export type Owned = { readonly parameters: readonly Tensor[]; readonly states: readonly (readonly Tensor[])[] };
export type Update = (
  parameters: readonly Tensor[],
  gradients: readonly Tensor[],
  states: readonly (readonly Tensor[])[],
) => void;

/** Calls `update` once, with all that has a gradient. Call it inside a scope and `noGrad`. */
export function updateActive({ parameters, states }: Owned, chosen: ChosenRows | null, update: Update): void {
  const active = parameters.flatMap((p, i) => {
    const own = states.map((kind) => kind[i]!);
    return (chosen?.whole === p ? rowsOf(chosen, own) : wholeOf(p, own)) ?? [];
  });
  if (active.length === 0) return;
  update(
    active.map(({ p }) => p),
    active.map(({ g }) => g),
    states.map((_, kind) => active.map((one) => one.states[kind]!)),
  );
  for (const { done } of active) done();
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

/** Forgets the gradients, so that the next backward pass writes fresh ones. */
export function clearGradients(parameters: Iterable<Tensor>): void {
  for (const p of parameters) p.grad = null;
}
