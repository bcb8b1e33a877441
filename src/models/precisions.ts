/** What a backbone computes in. Weights, the last layers, heads, losses and optimisers keep float32 under all of them. */
export const precisions = ['float32', 'bf16', 'fp16'] as const;
export type Precision = (typeof precisions)[number];
