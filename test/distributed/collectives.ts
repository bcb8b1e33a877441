// Every collective once, on small numbers that tell the ranks apart.
import {
  add,
  backward,
  type DistributedContext,
  gradients,
  keep,
  liveTensors,
  mul,
  requireGrad,
  scope,
  square,
  sum,
  type Tensor,
  tensor,
  toNumbers,
} from '../../src/torch/index.ts';

const numbers = (...values: number[]): Tensor => tensor(Float64Array.from(values));

export function run(distributed: DistributedContext) {
  const { group } = distributed;
  const { rank, processes } = group;
  const before = liveTensors();
  const seen = scope(() => {
    const own = (): Tensor => numbers(rank + 1, 10 * rank);
    const reduced = (how: 'sum' | 'max' | 'min'): number[] => {
      const x = own();
      const work = group.allReduce(x, how);
      work.wait();
      work.wait(); // a second time is nothing
      return toNumbers(x);
    };
    const fromLast = own();
    group.broadcast(fromLast, processes - 1).wait();
    const all = tensor(new Float64Array(2 * processes), { shape: [processes, 2] });
    group.allGather(all, own()).wait();
    // two at once, waited for in the other order
    const [early, late] = [own(), own()];
    const works = [group.allReduce(early), group.allReduce(late, 'max')];
    for (const work of works.reverse()) work.wait();
    const ring = numbers(-1);
    if (rank > 0) group.receive(ring, rank - 1).wait();
    if (rank < processes - 1) group.send(numbers(rank), rank + 1).wait();
    group.barrier().wait();
    const slices = tensor(Float64Array.from({ length: 2 * processes }, (_, i) => i + rank));
    return {
      sum: reduced('sum'),
      max: reduced('max'),
      min: reduced('min'),
      fromLast: toNumbers(fromLast),
      gathered: toNumbers(all),
      together: [...toNumbers(early), ...toNumbers(late)],
      ring: toNumbers(ring),
      scattered: toNumbers(group.reduceScatter(slices)),
      rows: gathering(group),
      gradientOfSum: derivative((x) => group.sum(x), rank),
      gradientOfShards: derivative((x) => group.sumOfShards(x), rank),
    };
  });
  const buckets = [true, false].map((overlap) => averaging(group, overlap));
  return {
    ...seen,
    buckets,
    leaked: liveTensors() - before,
    first: distributed.broadcastFromRankZero(() => ({ rank })),
  };
}

/** Rows in the order of the batch, and the gradient of what stands at each. */
function gathering(group: DistributedContext['group']) {
  const rows = requireGrad(tensor(Float64Array.of(group.rank, 10 + group.rank), { shape: [2, 1] }));
  const all = group.gather(rows);
  const weights = tensor(
    Float64Array.from({ length: all.numel }, (_, i) => i + 1),
    { shape: all.shape },
  );
  const [gradient] = gradients(sum(mul(all, weights)), [rows]);
  return { all: toNumbers(all), gradient: toNumbers(gradient!) };
}

/** The gradient at a number of a sum over the processes, of which each makes (rank + 1) times as much. */
function derivative(sumOver: (x: Tensor) => Tensor, rank: number): number[] {
  const x = requireGrad(numbers(1));
  const [gradient] = gradients(sum(mul(sumOver(x), rank + 1)), [x]);
  return toNumbers(gradient!);
}

/** Two rounds of averaging in buckets of one parameter; the second is in no loss, the third in that of process 0 alone. */
function averaging(group: DistributedContext['group'], overlap: boolean) {
  const parameters = [1, 2, 3].map((value) => requireGrad(keep(numbers(value, value + group.rank))));
  const [always, , sometimes] = parameters as [Tensor, Tensor, Tensor];
  const buckets = group.buckets(parameters, { bucketBytes: 8, overlap });
  const rounds = [0, 1].map(() => {
    scope(() => {
      const loss = sum(square(always));
      buckets.arm();
      backward(group.rank === 0 ? add(loss, sum(square(sometimes))) : loss);
      buckets.finish();
    });
    const means = scope(() => parameters.map(({ grad }) => grad && toNumbers(grad)));
    for (const p of parameters) p.grad = null;
    return means;
  });
  for (const p of parameters) p.dispose();
  return { count: buckets.count, rounds };
}
