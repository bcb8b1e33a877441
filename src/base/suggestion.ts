/** The nearest of `known`, if one is near. */
export function nearestName(word: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((name) => ({ name, distance: editDistance(word.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best && best.distance <= Math.max(word.length > 3 ? 2 : 1, Math.floor(word.length / 3))
    ? best.name
    : undefined;
}

/** `; did you mean …?` for the nearest of `known`, or nothing if none is near. */
export function didYouMean(word: string, known: readonly string[]): string {
  const name = nearestName(word, known);
  return name === undefined ? '' : `; did you mean ${name}?`;
}

/** Longer words are not compared: it would take long. */
const LONGEST_WORD = 100;

/** Least number of inserted, deleted or changed characters. */
function editDistance(a: string, b: string): number {
  if (a.length > LONGEST_WORD) return Infinity;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
