// Batch norm over the whole batch, of which each process has every W-th image, and the gradient of the sum of all losses.
import { BatchNorm } from '../../src/nn/index.ts';
import {
  backward,
  type DistributedContext,
  keep,
  mul,
  requireGrad,
  scope,
  selectRows,
  sum,
  tensor,
  toNumbers,
} from '../../src/torch/index.ts';
import { fill, int64 } from '../helpers/formula.ts';

export const SHAPE = [6, 3, 2, 2] as const;
/** Far from 0, so that a difference of large sums would show. */
const FAR = 100;

export const inputs = () => {
  const x = fill(SHAPE, 0.3, 0.77);
  return {
    x: tensor(
      Float64Array.from(toNumbers(x), (v) => v + FAR),
      { shape: SHAPE },
    ),
    probe: fill(SHAPE, 1, 0.6),
  };
};

/** A layer in double precision, with a weight and a bias of their own. */
export const layer = () =>
  Object.assign(new BatchNorm(SHAPE[1]), {
    weight: requireGrad(keep(fill([3], 0.9, 0.2))),
    bias: requireGrad(keep(fill([3], 0.3, 0.5))),
    runningMean: keep(fill([3], 0, 0)),
    runningVar: keep(fill([3], Math.PI / 2, 0)),
  });

export function run({ group }: DistributedContext) {
  const { rank, processes } = group;
  return scope(() => {
    const rows = Array.from({ length: SHAPE[0] / processes }, (_, i) => i * processes + rank);
    const { x, probe } = inputs();
    const own = requireGrad(selectRows(x, int64(rows)));
    const norm = layer();
    const y = norm.forward(own, { train: true, group });
    backward(sum(mul(y, selectRows(probe, int64(rows)))));
    const again = norm.forward(own, { train: true, again: true, group });
    return {
      rows,
      y: toNumbers(y),
      again: toNumbers(again),
      toX: toNumbers(own.grad!),
      toWeight: toNumbers(norm.weight.grad!),
      toBias: toNumbers(norm.bias.grad!),
      mean: toNumbers(norm.runningMean),
      variance: toNumbers(norm.runningVar),
      batches: norm.numBatchesTracked.item(),
    };
  });
}
