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
export function rowNorm(rows: Float32Array, start: number, dim: number): number {
  let sum = 0;
  for (let d = 0; d < dim; d++) sum += rows[start + d]! ** 2;
  return Math.sqrt(sum);
}
