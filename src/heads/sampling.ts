/**
 * The classes that a step compares with when not all are: those of its samples, and others drawn uniformly until there are
 * `count`; the own ones alone if they are that many already. Ascending.
 *
 * Each class draws a number, own classes get one above all, and the `count` largest win (the lowest class among equals).
 * `labels` are positions among the `classes`; -1 stands for a class of another shard. Source: methods.md 2.8 steps 1-2,
 * after Partial FC, arXiv:2203.15565.
 */
export function sampleClasses(
  labels: ArrayLike<number>,
  { classes, count }: { readonly classes: number; readonly count: number },
  uniform: () => number,
): Int32Array {
  const own = new Set(Array.from(labels).filter((label) => label >= 0));
  if (own.size >= count) return Int32Array.from(own).sort();
  const drawn = Float64Array.from({ length: classes }, uniform);
  for (const label of own) drawn[label] = OWN;
  const least = drawn.slice().sort()[classes - count]!;
  let equals = count - drawn.reduce((above, u) => above + (u > least ? 1 : 0), 0);
  return Int32Array.from(drawn.keys()).filter(
    (label) => drawn[label]! > least || (drawn[label] === least && equals-- > 0),
  );
}

/** Above every uniform number. */
const OWN = 2;

/** Where each of `classes` classes stands in the ascending `sample`; -1 for those that are not in it. */
export function placesIn(sample: Int32Array, classes: number): BigInt64Array {
  const places = new BigInt64Array(classes).fill(-1n);
  for (const [place, label] of sample.entries()) places[label] = BigInt(place);
  return places;
}
