import {
  add,
  clone,
  copy_,
  emptyLike,
  equalElements,
  full,
  gather,
  greater,
  largestIndices,
  linear,
  matmul,
  mul,
  narrow,
  norm,
  normalizeRows,
  relu,
  replaceRows_,
  reshape,
  scatter,
  scope,
  selectRows,
  sub,
  sum,
  type Tensor,
  tensor,
  to,
  toNumbers,
  unsqueeze,
  where,
  zerosLike,
} from '../../torch/index.ts';

export type PerturbationOptions = {
  /** Nearest other classes that a prototype is moved away from. */
  readonly neighbours: number;
  /** Factor on the move; 0: none. */
  readonly strength: number;
};

/** Classes at a time: memory is this times the classes, not their square. */
const BLOCK = 256;

/** More than two cosines can differ from 0: a pair with it has weight 0. */
const BEYOND_COSINES = 2;

/**
 * Old prototypes, each moved away from those of its nearest classes j by how much better the new model separates the two:
 * p̃ = normalize(p + strength · Σ w (p − pⱼ)), w = max(0, p · pⱼ − n · nⱼ), where n is the direction of a class's new embeddings.
 * A prototype without such a class is returned as it is; so is one without new embeddings, and one of zeros (no old embedding).
 * old: rows of length 1 or 0 [C, D]; sums of new unit embeddings, 0 if there are none [C, D] → [C, D]
 *
 * Source: the rule is of this project, after the abstract of arXiv:2503.14824.
 */
export function perturbPrototypes(old: Tensor, sums: Tensor, { neighbours, strength }: PerturbationOptions): Tensor {
  const classes = old.shape[0]!;
  const count = Math.min(neighbours, classes - 1);
  if (count === 0 || strength === 0) return clone(old);
  const result = emptyLike(old);
  scope(() => {
    const news = normalizeRows(sums);
    const [withoutOld, withoutNew] = [beyondIfZero(old), beyondIfZero(sums)];
    for (let start = 0; start < classes; start += BLOCK)
      scope(() => {
        const length = Math.min(BLOCK, classes - start);
        const block = (x: Tensor): Tensor => narrow(x, 0, start, length);
        const own = tensor(
          BigInt64Array.from({ length }, (_, i) => BigInt(start + i)),
          { shape: [length, 1] },
        );
        const beyond = full([length, 1], -BEYOND_COSINES, { dtype: old.dtype, device: old.device });
        const apart = add(unsqueeze(block(withoutOld), 1), withoutOld);
        const oldCosines = scatter(sub(linear(block(old), old), apart), 1, own, beyond); // [b, C]
        const nearest = largestIndices(oldCosines, count); // [b, count]
        const ofNearest = (x: Tensor): Tensor =>
          reshape(selectRows(x, reshape(nearest, [-1])), [length, count, ...x.shape.slice(1)]);
        const [olds, others] = [ofNearest(old), ofNearest(news)]; // [b, count, D]
        const newCosines = add(
          sum(mul(unsqueeze(block(news), 1), others), { dim: 2 }),
          add(unsqueeze(block(withoutNew), 1), ofNearest(withoutNew)),
        );
        const weights = mul(relu(sub(gather(oldCosines, 1, nearest), newCosines)), strength); // [b, count]
        const total = sum(weights, { dim: 1, keepDim: true });
        const away = sum(mul(unsqueeze(weights, 2), olds), { dim: 1 });
        const moved = normalizeRows(sub(mul(block(old), add(total, 1)), away));
        copy_(block(result), where(greater(total, 0), moved, block(old)));
      });
  });
  return result;
}

/** BEYOND_COSINES for each row of zeros, otherwise 0. [C, D] → [C] */
const beyondIfZero = (rows: Tensor): Tensor => {
  const lengths = norm(rows, { dim: 1 });
  return mul(to(equalElements(lengths, zerosLike(lengths)), { dtype: rows.dtype }), BEYOND_COSINES);
};

/**
 * Adds each row to that of its class in `sums`, in place. sums [C, D], rows [K, D], labels [K] int64. Rows of a class are added up by
 * a product, so that the order of the sum does not depend on the device's threads.
 */
export function addToClassSums_(sums: Tensor, rows: Tensor, labels: Tensor): void {
  const distinct = tensor(BigInt64Array.from(new Set(toNumbers(labels)), BigInt));
  const members = to(equalElements(unsqueeze(distinct, 1), labels), { dtype: rows.dtype }); // [classes of the batch, K]
  replaceRows_(sums, distinct, add(selectRows(sums, distinct), matmul(members, rows)));
}
