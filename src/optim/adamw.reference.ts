/** AdamW on plain numbers, one element at a time. A slow reference for tests. `m` and `s` start at zeros, `t` at 1. */
export function adamWReference(
  p: number[],
  g: readonly number[],
  m: number[],
  s: number[],
  t: number,
  {
    lr,
    weightDecay,
    beta1 = 0.9,
    beta2 = 0.999,
    eps = 1e-8,
  }: {
    readonly lr: number;
    readonly weightDecay: number;
    readonly beta1?: number;
    readonly beta2?: number;
    readonly eps?: number;
  },
): void {
  for (const [i, grad] of g.entries()) {
    m[i] = beta1 * m[i]! + (1 - beta1) * grad;
    s[i] = beta2 * s[i]! + (1 - beta2) * grad * grad;
    const mean = m[i]! / (1 - beta1 ** t);
    const root = Math.sqrt(s[i]! / (1 - beta2 ** t));
    p[i] = p[i]! * (1 - lr * weightDecay) - (lr * mean) / (root + eps);
  }
}
