import {
  add,
  linear,
  matmul,
  noGrad,
  relu,
  reshape,
  scope,
  share,
  sub,
  type Tensor,
  toFloat32,
  transpose,
} from '../torch/index.ts';
import type { Means } from './moments.ts';
import { float32, ROWS_AT_ONCE } from './paired-rows.ts';
import { slerpRows } from './slerp.ts';

/**
 * The tensors of an adapter, float32, named as PyTorch names those of linear layers: none for the identity; `weight` [Q, P] and
 * `bias` [Q]; with a residual also `hidden.weight` [H, P], `hidden.bias` [H], `residual.weight` [Q, H] and `residual.bias` [Q].
 */
export type AdapterMap = Readonly<Record<string, Tensor>>;

/** Rows of length 1 [K, P] → [K, Q], of any length: weight · x + bias, plus residual · relu(hidden · x). */
export function mapRows(map: AdapterMap, x: Tensor): Tensor {
  const { weight, bias } = map;
  if (!weight || !bias) return x;
  const y = linear(x, weight, bias);
  const [hidden, residual] = [map['hidden.weight'], map['residual.weight']];
  if (!hidden || !residual) return y;
  return add(y, linear(relu(linear(x, hidden, map['hidden.bias'])), residual, map['residual.bias']));
}

/** The map y = (x - x̄) w + ȳ; w [P, Q] float64. */
export const linearMap = (w: Tensor, { x, y }: Means): AdapterMap => ({
  weight: float32(transpose(w)),
  bias: float32(reshape(sub(y, matmul(x, w)), [-1])),
});

/** `mapRows` of rows of length 1 in memory, flat [K · P] → [K · Q]; `blend`: that share of the way there, for P = Q. */
export function mapFlat(map: AdapterMap, x: Float32Array, dim: number, blend?: number): Float32Array {
  const count = x.length / dim;
  const width = map['weight']?.shape[0] ?? dim;
  const y = new Float32Array(count * width);
  for (let from = 0; from < count; from += ROWS_AT_ONCE)
    scope(() => {
      const block = x.subarray(from * dim, (from + ROWS_AT_ONCE) * dim);
      const mapped = noGrad(() => mapRows(map, share(block, { shape: [block.length / dim, dim] })));
      y.set(toFloat32(mapped), from * width);
    });
  return blend === undefined ? y : slerpRows(x, y, { share: blend, dim });
}
