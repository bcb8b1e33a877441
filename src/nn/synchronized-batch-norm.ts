import {
  add,
  type BatchNormState,
  copy_,
  div,
  mean,
  mul,
  noGrad,
  type ProcessGroup,
  reshape,
  scope,
  select,
  sqrt,
  square,
  stack,
  sub,
  sum,
  type Tensor,
  to,
} from '../torch/index.ts';

/**
 * Batch normalisation with the statistics of the whole batch, of which each process has an equal share. Value and gradient are
 * those of a single process with the whole batch. x [b, C, …] → the same. Running statistics, if any, are updated in place.
 *
 * Each process sends its mean, the mean's square and its squares about the mean, C numbers each in double precision: one
 * all-reduce forward and one backward. A difference of two large sums in single precision would lose too many digits.
 */
export function synchronizedBatchNorm(
  x: Tensor,
  { weight, bias, runningMean, runningVar }: BatchNormState,
  group: ProcessGroup,
  { eps, momentum }: { readonly eps: number; readonly momentum: number },
): Tensor {
  const channels = x.shape[1]!;
  const others = x.shape.flatMap((_, dim) => (dim === 1 ? [] : [dim]));
  const share = x.numel / channels;
  const count = share * group.processes;
  const along = x.shape.map((size, dim) => (dim === 1 ? size : 1));
  return scope(() => {
    const values = to(x, { dtype: x.dtype === 'float64' ? 'float64' : 'float32' });
    const own = mean(values, { dim: others, keepDim: true }); // [1, C, 1, 1]
    const squares = sum(square(sub(values, own)), { dim: others });
    const exact = to(reshape(own, [channels]), { dtype: 'float64' });
    const sums = group.sum(stack([exact, square(exact), to(squares, { dtype: 'float64' })]));
    const [means, meanSquares, within] = [0, 1, 2].map((part) => select(sums, 0, part)) as [Tensor, Tensor, Tensor];
    const centre = div(means, group.processes); // [C]
    const between = sub(meanSquares, mul(square(centre), group.processes)); // Σ (own mean - mean)²
    const squaresOfAll = add(within, between, { alpha: share });
    const variance = div(squaresOfAll, count);
    if (runningMean && runningVar)
      noGrad(() => {
        move(runningMean, centre, momentum);
        move(runningVar, div(squaresOfAll, count - 1), momentum);
      });
    const shaped = (perChannel: Tensor): Tensor => to(reshape(perChannel, along), { dtype: values.dtype });
    const factor = shaped(div(weight, sqrt(add(variance, eps))));
    return to(add(mul(sub(values, shaped(centre)), factor), shaped(bias)), { dtype: x.dtype });
  });
}

const move = (running: Tensor, batch: Tensor, momentum: number): Tensor =>
  copy_(running, add(mul(running, 1 - momentum), mul(batch, momentum)));
