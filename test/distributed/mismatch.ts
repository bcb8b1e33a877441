// Two processes that were started with different recipes.
import type { DistributedContext } from '../../src/torch/index.ts';

export function run(distributed: DistributedContext): void {
  distributed.requireEqual({ dataset: 'same', recipe: distributed.group.rank === 0 ? 'a' : 'b' });
}
