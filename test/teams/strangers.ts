import { type DistributedContext, scope, tensor, toNumbers } from '../../src/torch/index.ts';
import { listeners, pester } from '../helpers/sockets.ts';

/** Strangers come to the port that process 0 serves while all reduce; then all reduce again. */
export async function run({ place, group }: DistributedContext, strangers: number): Promise<object> {
  if (place.rank === 0) for (let i = 0; i < strangers; i++) await pester(place.port, i);
  group.barrier().wait();
  const sum = scope(() => toNumbers(group.sum(tensor([place.rank + 1], { dtype: 'float32' })))[0]);
  const addresses = [...new Set(listeners(process.pid).map(({ address }) => address))];
  return { sum, addresses };
}
