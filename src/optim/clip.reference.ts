/** Clipping on plain numbers: the gradients scaled to a joint norm of at most `maxNorm`, and the norm before. */
export function clipReference(
  gradients: readonly (readonly number[])[],
  maxNorm: number,
): { readonly norm: number; readonly clipped: number[][] } {
  let squares = 0;
  for (const gradient of gradients) for (const g of gradient) squares += g * g;
  const norm = Math.sqrt(squares);
  const factor = Math.min(1, maxNorm / (norm + 1e-6));
  return { norm, clipped: gradients.map((gradient) => gradient.map((g) => g * factor)) };
}
