import { isTensor, keep, type ProcessGroup, requireGrad, type Tensor } from '../torch/index.ts';

/** A learned tensor, born outside every scope. */
export const parameter = (x: Tensor): Tensor => keep(requireGrad(x));

/** How a module is run. */
export type Pass = {
  /** Whether this pass trains (batch statistics, dropout) or only computes. */
  readonly train: boolean;
  /** Whether it repeats one for backward (`chain`): what a module counts for itself has been counted then. */
  readonly again?: boolean;
  /** Processes over which batch statistics are taken; those of this process's share of the batch if absent. */
  readonly group?: ProcessGroup;
};

/**
 * A part of a network. Its parameters, buffers and children are its fields: `state()` walks them, and names them as
 * PyTorch would (`layer1.0.conv1.weight`). A field in camel case is snake case in the state (`runningMean` →
 * `running_mean`).
 */
export abstract class Module {
  /** Fields that hold tensors which are no parameters (running statistics), as named in the class. */
  protected readonly bufferNames: readonly string[] = [];

  abstract forward(x: Tensor, pass: Pass): Tensor;

  /** Every tensor of the state with its path, in the order of the fields: parameters and buffers. */
  *state(prefix = ''): Generator<[path: string, value: Tensor]> {
    for (const [path, value] of this.entries(prefix)) yield [path, value.tensor];
  }

  /** The learned tensors with their paths, frozen ones included. */
  *parameters(prefix = ''): Generator<[path: string, value: Tensor]> {
    for (const [path, value] of this.entries(prefix)) if (!value.buffer) yield [path, value.tensor];
  }

  /** What `state` walks: the fields by default. */
  protected children(): Iterable<readonly [name: string, child: unknown]> {
    return Object.entries(this);
  }

  private *entries(
    prefix: string,
  ): Generator<[path: string, value: { readonly tensor: Tensor; readonly buffer: boolean }]> {
    for (const [name, value] of this.children()) {
      const path = prefix + name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      if (isTensor(value)) yield [path, { tensor: value, buffer: this.bufferNames.includes(name) }];
      else if (value instanceof Module) yield* value.entries(`${path}.`);
      else if (Array.isArray(value))
        for (const [i, child] of value.entries()) if (child instanceof Module) yield* child.entries(`${path}.${i}.`);
    }
  }

  /** Frees every tensor of the state. */
  dispose(): void {
    for (const [, value] of this.state()) value.dispose();
  }
}
