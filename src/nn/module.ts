import { isTensor, keep, type ProcessGroup, requireGrad, type Tensor } from '../torch/index.ts';

/** A learned tensor, outside every scope. */
export const parameter = (x: Tensor): Tensor => keep(requireGrad(x));

/** How a module runs. */
export type Pass = {
  /** Whether the module is in training mode (batch statistics, dropout). */
  readonly train: boolean;
  /** Whether backward recomputes an earlier pass (`checkpointSequential`), which has updated running statistics already. */
  readonly again?: boolean;
  /** The processes that share batch statistics; absent: each uses its share of the batch. */
  readonly group?: ProcessGroup;
};

/**
 * A part of a network. Its parameters, buffers and children are its fields. `state()` names them as PyTorch does
 * (`layer1.0.conv1.weight`): a field in camel case is snake case in the state (`runningMean` → `running_mean`).
 */
export abstract class Module {
  /** Names of fields that are buffers, not parameters (running statistics). */
  protected readonly bufferNames: readonly string[] = [];
  /** Whether `freeze` covers all of it: its batch norm uses running statistics in training too. */
  protected frozen = false;

  abstract forward(x: Tensor, pass: Pass): Tensor;

  /** Parameters and buffers with their paths, in the order of the fields. */
  *state(prefix = ''): Generator<[path: string, value: Tensor]> {
    for (const [path, value] of this.entries(prefix)) yield [path, value.tensor];
  }

  /** The learned tensors with their paths, frozen ones included. */
  *parameters(prefix = ''): Generator<[path: string, value: Tensor]> {
    for (const [path, value] of this.entries(prefix)) if (!value.buffer) yield [path, value.tensor];
  }

  /** Excludes what `covers` accepts by its path from training: parameters get no gradient, batch norms stay in evaluation mode. */
  freeze(covers: (path: string) => boolean, prefix = ''): void {
    for (const [path, child, name] of this.named(prefix)) {
      if (child instanceof Module) {
        child.frozen = covers(path);
        child.freeze(covers, `${path}.`);
      } else if (covers(path) && !this.bufferNames.includes(name)) requireGrad(child, false);
    }
  }

  /** The entries of `state`; by default the fields. */
  protected children(): Iterable<readonly [name: string, child: unknown]> {
    return Object.entries(this);
  }

  private *entries(
    prefix: string,
  ): Generator<[path: string, value: { readonly tensor: Tensor; readonly buffer: boolean }]> {
    for (const [path, child, name] of this.named(prefix))
      if (child instanceof Module) yield* child.entries(`${path}.`);
      else yield [path, { tensor: child, buffer: this.bufferNames.includes(name) }];
  }

  /** Tensors and modules among the children, with their paths and the fields that hold them. */
  private *named(prefix: string): Generator<[path: string, child: Tensor | Module, name: string]> {
    for (const [name, value] of this.children()) {
      const path = prefix + name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      if (isTensor(value) || value instanceof Module) yield [path, value, name];
      else if (Array.isArray(value))
        for (const [i, child] of value.entries()) if (child instanceof Module) yield [`${path}.${i}`, child, name];
    }
  }

  /** Frees every tensor of the state. */
  dispose(): void {
    for (const [, value] of this.state()) value.dispose();
  }
}
