import {
  abs,
  add,
  clamp,
  detach,
  div,
  greater,
  mul,
  neg,
  noGrad,
  norm,
  type ProcessGroup,
  selectRows,
  sigmoid,
  singleProcess,
  sub,
  sum,
  type Tensor,
  to,
  where,
} from '../../torch/index.ts';
import type { Boundaries } from '../method.ts';

export type ElasticBoundaries = Boundaries & {
  /** Learned. [C] */
  readonly elastic: Tensor;
  /** τ: a boundary lies between the class's largest old distance and τ. */
  readonly radius: number;
};

/** How far a class's boundary moves from its largest old distance towards τ. largest [..], elastic [..] → [..] */
export const elasticShift = (largest: Tensor, elastic: Tensor, radius: number): Tensor =>
  mul(abs(sub(largest, radius)), sigmoid(elastic));

/** Counts the samples of the whole batch whose class has no boundary; they add 0. labels [B] */
export const countWithoutBoundary = (
  labels: Tensor,
  { several }: Pick<Boundaries, 'several'>,
  group: ProcessGroup,
): number => noGrad(() => group.sum(sum(add(neg(selectRows(several, labels)), 1)))).item();

/**
 * Mean distance beyond the elastic boundary of the own class, over the samples beyond it. Classes with fewer than two kept
 * distances have no boundary. embeddings [B, D] of length 1, labels [B] → scalar. Source: methods.md 5.6.
 * In a `group` of W processes, each gets its samples' part of the mean over all samples, times W.
 */
export function boundaryLoss(
  embeddings: Tensor,
  labels: Tensor,
  { centres, radii, several, elastic, radius }: ElasticBoundaries,
  group: ProcessGroup = singleProcess,
): Tensor {
  const of = (perClass: Tensor): Tensor => selectRows(perClass, labels);
  const largest = of(radii);
  const shift = elasticShift(largest, of(elastic), radius);
  const boundary = where(greater(largest, radius), sub(largest, shift), add(largest, shift));
  const excess = sub(norm(sub(embeddings, of(centres)), { dim: 1 }), boundary);
  const counted = mul(to(greater(detach(excess), 0), { dtype: excess.dtype }), of(several));
  const samples = clamp(
    noGrad(() => group.sum(sum(counted))),
    1,
  );
  return mul(div(sum(mul(excess, counted)), samples), group.processes);
}
