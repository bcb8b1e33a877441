import { type DistributedContext, scope, tensor, toNumbers } from '../../src/torch/index.ts';
import { listeners, pester } from '../helpers/sockets.ts';

/** Strangers come to the port that process 0 serves while all reduce; then all reduce again. */
export async function run({ group }: DistributedContext, strangers: number): Promise<object> {
  if (group.rank === 0) for (let i = 0; i < strangers; i++) await pester(Number(process.env['MASTER_PORT']), i);
  group.barrier().wait();
  const sum = scope(() => toNumbers(group.sum(tensor([group.rank + 1], { dtype: 'float32' })))[0]);
  const addresses = [...new Set(listeners(process.pid).map(({ address }) => address))];
  return { sum, addresses };
}
