import {
  add,
  clamp,
  concat,
  detach,
  div,
  exp,
  full,
  gather,
  greater,
  largest,
  log,
  mean,
  mul,
  narrow,
  neg,
  noGrad,
  scatter,
  singleProcess,
  sub,
  sum,
  type Tensor,
  to,
  unsqueeze,
  where,
  zerosLike,
} from '../torch/index.ts';
import { MIN_PROBABILITY } from './cross-entropy.ts';

/** The classes of one process: rows `start` … `start + count - 1` of the whole weight [C, D]. */
export type Shard = { readonly start: number; readonly count: number };

/** Spreads C classes over W processes evenly; the first processes hold one more each. Source: methods.md 2.8. */
export function shardOf(
  classes: number,
  { processes, rank }: { readonly processes: number; readonly rank: number },
): Shard {
  const [each, over] = [Math.floor(classes / processes), classes % processes];
  return { start: each * rank + Math.min(rank, over), count: each + (rank < over ? 1 : 0) };
}

/** Labels as rows of a shard; -1 for classes of other shards. [B] int64 → [B] int64 */
export function labelsInShard(labels: Tensor, { start, count }: Shard): Tensor {
  const local = clamp(sub(labels, start), -1);
  return where(greater(local, count - 1), full(labels.shape, -1, { dtype: 'int64' }), local);
}

/** One shard's logits of a batch [B, C_s], and each sample's class among its classes [B] int64 (-1: in another shard). */
export type ShardLogits = { readonly logits: Tensor; readonly labels: Tensor };

/** A shard may have no class. */
const isEmpty = (logits: Tensor): boolean => logits.shape[1] === 0;
const lowest = ({ shape, dtype }: Tensor): Tensor => full([shape[0]!, 1], Number.NEGATIVE_INFINITY, { dtype });

/** Elementwise reductions over the processes. Each call is one all-reduce and keeps the shape. */
export type Reductions = { max(x: Tensor): Tensor; sum(x: Tensor): Tensor };

/**
 * Mean cross-entropy over sharded classes: value and gradient of `saturatedCrossEntropy` of the concatenated logits, which no
 * process holds. `shards` are those of this process; `across` reduces over the others. Every process gets the same value and
 * the gradient of its own logits, (p - onehot)/B, also where the value saturates (D-30).
 *
 * Reductions need not be differentiable: the gradient is added by hand, as the factor of a term that is always 0.
 * Source: methods.md 2.9.
 */
export function shardedCrossEntropy(shards: readonly ShardLogits[], across: Reductions = singleProcess): Tensor {
  const { value, towards } = noGrad(() => {
    const maxima = shards.map(({ logits }) => (isEmpty(logits) ? lowest(logits) : largest(logits, 1)));
    const most = across.max(largest(concat(maxima, 1), 1)); // [B, 1]
    const parts = shards.map(({ logits, labels }) => {
      const odds = exp(sub(logits, most)); // [B, C_s], probabilities but for a factor
      const column = unsqueeze(labels, 1);
      const owns = to(greater(column, -1), { dtype: logits.dtype }); // [B, 1], whether the own class is here
      return { odds, owns, place: clamp(column, 0) };
    });
    const sums = parts.map(({ odds, owns, place }) => {
      const own = isEmpty(odds) ? owns : mul(gather(odds, 1, place), owns);
      return concat([sum(odds, { dim: 1, keepDim: true }), own], 1);
    });
    const both = across.sum(sums.reduce((a, b) => add(a, b))); // [B, 2]: of all classes, of the own one
    const [total, own] = [narrow(both, 1, 0, 1), narrow(both, 1, 1, 1)];
    return {
      value: neg(mean(log(clamp(div(own, total), MIN_PROBABILITY)))),
      towards: parts.map(({ odds, owns, place }) => {
        if (isEmpty(odds)) return odds;
        const onehot = scatter(zerosLike(odds), 1, place, owns);
        return div(sub(div(odds, total), onehot), odds.shape[0]!);
      }),
    };
  });
  const pull = shards.map(({ logits }, s) => sum(mul(logits, towards[s]!))).reduce((a, b) => add(a, b));
  return add(value, sub(pull, detach(pull)));
}
