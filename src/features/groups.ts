/** Positions of each class's rows, by label, in order. A class without rows has an empty list. labels [N] */
export function rowsByClass(labels: Int32Array, classes: number): Int32Array[] {
  const counts = new Int32Array(classes);
  for (const label of labels) counts[label]!++;
  const groups = Array.from(counts, (count) => new Int32Array(count));
  counts.fill(0);
  for (const [row, label] of labels.entries()) groups[label]![counts[label]!++] = row;
  return groups;
}

/** The length of a row; summed in double precision. */
export function rowNorm(rows: Float32Array | Float64Array, start: number, dim: number): number {
  let sum = 0;
  for (let d = 0; d < dim; d++) sum += rows[start + d]! ** 2;
  return Math.sqrt(sum);
}

/** The mean of rows, in double precision. rows [K · D] → [D] */
export function meanRow(rows: Float32Array | Float64Array, dim: number): Float64Array {
  const sums = new Float64Array(dim);
  for (let start = 0; start < rows.length; start += dim) for (let d = 0; d < dim; d++) sums[d]! += rows[start + d]!;
  const count = rows.length / dim;
  return sums.map((sum) => sum / count);
}
