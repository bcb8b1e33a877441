/** Whole numbers in their order as text: `0-27999,31,17-18`. Runs that go up by one are written as a range. */
export function formatRanges(numbers: ArrayLike<number>): string {
  const ranges: string[] = [];
  for (let from = 0; from < numbers.length; ) {
    let to = from;
    while (to + 1 < numbers.length && numbers[to + 1] === numbers[to]! + 1) to++;
    ranges.push(from === to ? `${numbers[from]}` : `${numbers[from]}-${numbers[to]}`);
    from = to + 1;
  }
  return ranges.join(',');
}

const LARGEST = 2 ** 31 - 1;

/** Reads what `formatRanges` wrote. → null if the text is malformed or does not hold exactly `count` numbers */
export function parseRanges(text: string, count: number): Int32Array | null {
  const numbers = new Int32Array(count);
  let found = 0;
  for (const range of text.split(',')) {
    const match = /^(\d{1,10})(?:-(\d{1,10}))?$/.exec(range);
    if (!match) return null;
    const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (to < from || to > LARGEST || found + (to - from) >= count) return null;
    for (let id = from; id <= to; id++) numbers[found++] = id;
  }
  return found === count ? numbers : null;
}
