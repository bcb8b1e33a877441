// Two processes that were started with different recipes.
import type { Joined } from '../../src/torch/index.ts';

export function run(joined: Joined): void {
  joined.requireEqual({ dataset: 'same', recipe: joined.place.rank === 0 ? 'a' : 'b' });
}
