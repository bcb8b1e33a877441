/** Whole numbers by position. */
export type NumberList = { readonly length: number; at(i: number): number };

/** Whole numbers in their order as text: `0-27999,31,17-18`. Runs that go up by one are written as a range. */
export function formatRanges(numbers: NumberList): string {
  const ranges: string[] = [];
  for (let from = 0; from < numbers.length; ) {
    const first = numbers.at(from);
    let length = 1;
    while (from + length < numbers.length && numbers.at(from + length) === first + length) length++;
    ranges.push(length === 1 ? `${first}` : `${first}-${first + length - 1}`);
    from += length;
  }
  return ranges.join(',');
}

const LARGEST = 2 ** 31 - 1;

/** Reads what `formatRanges` wrote; memory grows with the text, not with the numbers. → null if it is malformed */
export function parseRanges(text: string): NumberList | null {
  const ranges: { readonly from: number; readonly to: number; readonly before: number }[] = [];
  let length = 0;
  for (const range of text.split(',')) {
    const match = /^(\d{1,10})(?:-(\d{1,10}))?$/.exec(range);
    if (!match) return null;
    const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (to < from || to > LARGEST) return null;
    ranges.push({ from, to, before: length });
    length += to - from + 1;
  }
  const at = (i: number): number => {
    let [low, high] = [0, ranges.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (ranges[middle]!.before <= i) low = middle;
      else high = middle - 1;
    }
    return ranges[low]!.from + i - ranges[low]!.before;
  };
  return { length, at };
}
