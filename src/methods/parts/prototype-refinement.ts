import { add, eye, matmul, mul, ones, softmax, solve, sub, type Tensor, transpose } from '../../torch/index.ts';

export type RefineOptions = {
  /** λ, the propagated share, below 1. */
  readonly lambda: number;
  readonly temperature: number;
  /** `row`: each sample's neighbours sum to 1. `column`: the reference's, under which the result is the plain mean (D-04). */
  readonly refineAxis: 'row' | 'column';
};

/** Keeps a sample from being its own neighbour. It is finite, so that a class of one sample has itself (weight 1). */
const NOT_A_NEIGHBOUR = -1e9;

/**
 * Edge weights of the graph: the softmax of the similarities of the new embeddings. news [n, D], float64 → [n, n]. Rows sum to 1,
 * or columns, as `refineAxis` says.
 */
export function neighbourGraph(
  news: Tensor,
  { temperature, refineAxis }: Pick<RefineOptions, 'temperature' | 'refineAxis'>,
): Tensor {
  const count = news.shape[0]!;
  const identity = eye(count, { dtype: 'float64' });
  const similarities = mul(matmul(news, transpose(news)), 1 / temperature);
  // makes the diagonal exactly one number, whatever a sample's similarity to itself was
  const others = add(mul(similarities, sub(ones([count, count], { dtype: 'float64' }), identity)), identity, {
    alpha: NOT_A_NEIGHBOUR,
  });
  return softmax(others, refineAxis === 'row' ? 1 : 0);
}

/**
 * One class's prototype: the mean over the samples of (1-λ)(I - λA)⁻¹ V, where A is the graph of the new embeddings.
 * news [n, D], olds [n, D'], float64 → [1, D']
 *
 * Solves one linear system instead of inverting: mean = (1-λ)/n · xᵀV with (I - λA)ᵀx = 1.
 * Source: methods.md 5.4.
 */
export function refinePrototype(news: Tensor, olds: Tensor, { lambda, ...options }: RefineOptions): Tensor {
  const count = olds.shape[0]!;
  const system = sub(eye(count, { dtype: 'float64' }), mul(neighbourGraph(news, options), lambda));
  const weights = solve(transpose(system), ones([count, 1], { dtype: 'float64' }));
  return mul(matmul(transpose(weights), olds), (1 - lambda) / count);
}
