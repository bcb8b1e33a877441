/** Momentum SGD as the textbook writes it, on plain numbers. A slow reference for tests. `v` starts at zeros. */
export function sgdReference(
  p: number[],
  g: readonly number[],
  v: number[],
  { lr, momentum, weightDecay }: { readonly lr: number; readonly momentum: number; readonly weightDecay: number },
): void {
  for (const [i, grad] of g.entries()) {
    v[i] = momentum * v[i]! + grad + weightDecay * p[i]!;
    p[i] = p[i]! - lr * v[i]!;
  }
}
