// Two processes that were started with different recipes.
import type { DistributedContext } from '../../src/torch/index.ts';

export function run(joined: DistributedContext): void {
  joined.requireEqual({ dataset: 'same', recipe: joined.place.rank === 0 ? 'a' : 'b' });
}
