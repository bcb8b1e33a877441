import {
  add,
  type BatchNormState,
  copy_,
  div,
  mul,
  noGrad,
  reshape,
  scope,
  sqrt,
  square,
  sub,
  sum,
  type Team,
  type Tensor,
} from '../torch/index.ts';

/**
 * Batch normalisation with the statistics of the whole batch, of which each process has an equal share: value and gradient
 * are those of one process that has all of it. x [b, C, …] → the same. The running statistics, if any, move in place.
 *
 * The mean is exchanged before the squares about it, two all-reduces of C numbers, and two more backward: a difference of
 * two large sums would lose in single precision what the test of equal losses needs.
 */
export function teamBatchNorm(
  x: Tensor,
  { weight, bias, runningMean, runningVar }: BatchNormState,
  team: Team,
  { eps, momentum }: { readonly eps: number; readonly momentum: number },
): Tensor {
  const channels = x.shape[1]!;
  const others = x.shape.flatMap((_, dim) => (dim === 1 ? [] : [dim]));
  const count = (x.numel / channels) * team.processes;
  const along = x.shape.map((size, dim) => (dim === 1 ? size : 1));
  return scope(() => {
    const mean = div(team.sum(sum(x, { dim: others, keepDim: true })), count); // [1, C, 1, 1]
    const centred = sub(x, mean);
    const variance = div(team.sum(sum(square(centred), { dim: others, keepDim: true })), count);
    if (runningMean && runningVar)
      noGrad(() => {
        move(runningMean, reshape(mean, [channels]), momentum);
        move(runningVar, mul(reshape(variance, [channels]), count / (count - 1)), momentum);
      });
    const factor = div(reshape(weight, along), sqrt(add(variance, eps)));
    return add(mul(centred, factor), reshape(bias, along));
  });
}

const move = (running: Tensor, batch: Tensor, momentum: number): Tensor =>
  copy_(running, add(mul(running, 1 - momentum), mul(batch, momentum)));
