/** Below this sine the great circle through two directions is not known in float32. */
const LEAST_SINE = 1e-6;

/**
 * Spherical linear interpolation (Shoemake 1985, "Animating rotation with quaternion curves"): of each pair of rows, the
 * direction that is `share` of the angle away from `from` towards `to`. Rows of any length, flat [K · D] → rows of length 1.
 * Share 0 gives `from`, share 1 `to`. Where the two are opposite, no circle is shorter than the others, and the nearer end is
 * given, `from` at 0.5. A row of zeros has no direction: the other row is given.
 */
export function slerpRows(
  from: Float32Array,
  to: Float32Array,
  { share, dim }: { readonly share: number; readonly dim: number },
): Float32Array {
  const out = new Float32Array(from.length);
  for (let row = 0; row < from.length; row += dim) {
    let [aa, bb, ab] = [0, 0, 0];
    for (let d = row; d < row + dim; d++) {
      aa += from[d]! * from[d]!;
      bb += to[d]! * to[d]!;
      ab += from[d]! * to[d]!;
    }
    const [a, b] = weights(Math.sqrt(aa), Math.sqrt(bb), ab, share);
    for (let d = row; d < row + dim; d++) out[d] = a * from[d]! + b * to[d]!;
  }
  return out;
}

/** Factors of two rows whose lengths and product are given: sin((1 - s)θ) / sin θ and sin(sθ) / sin θ, over the lengths. */
function weights(a: number, b: number, product: number, share: number): readonly [number, number] {
  const [ofFrom, ofTo] = [a === 0 ? 0 : 1 / a, b === 0 ? 0 : 1 / b];
  const end = (second: boolean): readonly [number, number] => (second ? [0, ofTo] : [ofFrom, 0]);
  if (a === 0 || b === 0) return end(a === 0);
  if (share === 0 || share === 1) return end(share === 1);
  const cosine = Math.max(-1, Math.min(1, product * ofFrom * ofTo));
  const angle = Math.acos(cosine);
  const sine = Math.sin(angle);
  if (sine < LEAST_SINE) return end(share > 0.5);
  return [(ofFrom * Math.sin((1 - share) * angle)) / sine, (ofTo * Math.sin(share * angle)) / sine];
}
