/** Labels 0 … C-1, and what the classes were called before. */
export type NumberedClasses<Ids> = {
  readonly labels: Int32Array;
  readonly classes: number;
  /** Original ids, ascending; null if they were 0 … C-1 already. [C] */
  readonly ids: Ids | null;
};

/** Numbers classes from 0 without holes, in the order of their ids. Memory grows with the entries, whatever the largest id is. */
export function numberClasses<Ids extends Int32Array | Float64Array>(ids: Ids): NumberedClasses<Ids> {
  const occurring = new Set<number>(ids);
  const classes = occurring.size;
  const distinct = ids.slice(0, classes) as Ids;
  distinct.set([...occurring]);
  distinct.sort();
  if (distinct.at(-1) === classes - 1) return { labels: Int32Array.from(ids), classes, ids: null };
  const labelOf = new Map(Array.from(distinct, (id, label) => [id, label]));
  return { labels: Int32Array.from(ids, (id) => labelOf.get(id)!), classes, ids: distinct };
}
