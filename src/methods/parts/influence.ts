import { z } from 'zod';
import {
  crossEntropy,
  linear,
  mul,
  normalizeRows,
  onesLike,
  scatter,
  sub,
  type Tensor,
  unsqueeze,
  zerosLike,
} from '../../torch/index.ts';

/** Options of the influence loss of BCT and UniBCT: cross-entropy of new embeddings against fixed prototypes. */
export const influenceOptions = {
  weight: z.number().min(0).default(10).describe('factor of the influence term; the reference has 1'),
  scale: z
    .number()
    .positive()
    .default(10)
    .describe('factor on the cosines; at 1, as in the reference, the term hardly changes (D-28)'),
  marginCos: z.number().min(0).max(1).default(0).describe('margin, subtracted from the cosine to the own prototype'),
} as const;

export type InfluenceOptions = { readonly scale: number; readonly marginCos: number };

/**
 * Cross-entropy of scale · (e^ · Pᵀ - margin at the own class). embeddings [B, D], prototypes [C, D] (of length 1,
 * or raw means in the reference's UniBCT), labels [B] → scalar. Source: methods.md 5.3; D-28.
 */
export function influenceLoss(
  embeddings: Tensor,
  prototypes: Tensor,
  labels: Tensor,
  { scale, marginCos }: InfluenceOptions,
): Tensor {
  const logits = linear(normalizeRows(embeddings), prototypes); // [B, C]
  const column = unsqueeze(labels, 1);
  const own = scatter(zerosLike(logits), 1, column, onesLike(logits));
  return crossEntropy(mul(marginCos > 0 ? sub(logits, mul(own, marginCos)) : logits, scale), labels);
}
