import { checkpointed, type Tensor } from '../torch/index.ts';
import type { Module, Pass } from './module.ts';

/**
 * Runs modules one after the other. With `every` > 0, training stores only the inputs of each group of `every` modules, and
 * backward recomputes the group (activation checkpointing: less memory for one more forward pass). Losses, gradients and
 * running statistics stay the same to the bit.
 */
export function checkpointSequential(modules: readonly Module[], x: Tensor, pass: Pass, every = 0): Tensor {
  const run = (group: readonly Module[], input: Tensor, how: Pass): Tensor =>
    group.reduce((value, module) => module.forward(value, how), input);
  if (every === 0 || !pass.train) return run(modules, x, pass);
  const groups = Array.from({ length: Math.ceil(modules.length / every) }, (_, i) =>
    modules.slice(i * every, (i + 1) * every),
  );
  return groups.reduce(
    (input, group) => checkpointed((again) => run(group, input, again ? { ...pass, again } : pass)),
    x,
  );
}
