/**
 * Samples the classes of a step: those of its samples, and others drawn uniformly until there are `count`. If the samples have
 * `count` classes or more, only these. Ascending.
 *
 * Each class draws a number, and the samples' classes get one above all. The `count` largest win; among equals the lowest class.
 * `labels` are positions among the `classes`; -1 is a class of another shard. Source: methods.md 2.8 steps 1-2, after
 * Partial FC, arXiv:2203.15565.
 */
export function sampleClasses(
  labels: ArrayLike<number>,
  { classes, count }: { readonly classes: number; readonly count: number },
  uniform: () => number,
): Int32Array {
  const own = new Set(Array.from(labels).filter((label) => label >= 0));
  if (own.size >= count) return Int32Array.from(own).sort();
  const drawn = new Float64Array(classes).map(() => uniform());
  for (const label of own) drawn[label] = OWN;
  const least = drawn.slice().sort()[classes - count]!;
  let equals = count;
  for (const u of drawn) if (u > least) equals--;
  const sample = new Int32Array(count);
  let found = 0;
  for (let label = 0; label < classes; label++) {
    const u = drawn[label]!;
    if (u > least || (u === least && equals-- > 0)) sample[found++] = label;
  }
  return sample;
}

/** Above every uniform number. */
const OWN = 2;

/** Position of each of `classes` classes in the ascending `sample`; -1 for classes that are not in it. */
export function positionsInSample(sample: Int32Array, classes: number): BigInt64Array {
  const places = new BigInt64Array(classes).fill(-1n);
  for (const [place, label] of sample.entries()) places[label] = BigInt(place);
  return places;
}
