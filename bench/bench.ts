/** Options of a benchmark on the command line. */
export type BenchOptions = {
  /** Measurements of each side; ratios are medians over them. */
  readonly runs: number;
  /** Less data than the bar is about, where a benchmark has much: to try it. */
  readonly small: boolean;
  /** `cpu`, or `cuda` where a benchmark has sizes for it. */
  readonly device: string;
};

/** One comparison: `ratio` is good when it is on the `better` side of `bar`. */
export type Measured = {
  readonly ratio: number;
  readonly bar: number;
  readonly better: 'higher' | 'lower';
  readonly ok: boolean;
};

/** A benchmark: prints lines for people as it goes, and returns its numbers; of several ratios, the one that misses its bar most comes first. */
export type Bench = {
  readonly summary: string;
  run(options: BenchOptions): Promise<Measured & Readonly<Record<string, unknown>>>;
};

export const measured = (ratio: number, bar: number, better: Measured['better']): Measured => ({
  ratio,
  bar,
  better,
  ok: better === 'higher' ? ratio >= bar : ratio <= bar,
});

/** How far a ratio is on the good side of its bar, as a factor: below 1 it misses. */
const margin = ({ ratio, bar, better }: Measured): number => (better === 'higher' ? ratio / bar : bar / ratio);

/** The comparison that decides a benchmark of several: the others are all right if this one is. */
export function worst(all: readonly Measured[]): Measured {
  const { ratio, bar, better, ok } = all.reduce((least, one) => (margin(one) < margin(least) ? one : least));
  return { ratio, bar, better, ok };
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

/** A line for people. */
export const tell = (line: string): void => void process.stdout.write(`${line}\n`);
