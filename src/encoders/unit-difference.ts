/** How far two embeddings of the same images are from each other. */
export type UnitDifference = {
  /** Largest difference of an element, both scaled to unit length. */
  readonly largest: number;
  /** Smallest cosine of an image's two embeddings. */
  readonly cosine: number;
};

/** Compares rows [N · D] with rows [N · D]. Two rows of zeros are equal; zeros and something else have cosine 0. */
export function unitDifference(a: Float32Array, b: Float32Array, dim: number): UnitDifference {
  let [largest, cosine] = [0, 1];
  for (let row = 0; row < a.length; row += dim) {
    const [x, y] = [unitRow(a, row, dim), unitRow(b, row, dim)];
    const differences = x.map((value, i) => Math.abs(value - y[i]!));
    largest = Math.max(largest, ...differences);
    const product = x.reduce((sum, value, i) => sum + value * y[i]!, 0);
    cosine = Math.min(cosine, differences.every((difference) => difference === 0) ? 1 : product);
  }
  return { largest, cosine };
}

function unitRow(rows: Float32Array, at: number, dim: number): Float64Array {
  const row = Float64Array.from(rows.subarray(at, at + dim));
  const norm = Math.hypot(...row);
  return norm > 0 ? row.map((x) => x / norm) : row;
}
