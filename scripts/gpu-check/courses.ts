/** Steps whose losses have to agree one by one; later ones go apart, as roundings grow. */
const FIRST = 5;
/** Relative: of single steps, convolutions in TF32 among them; of the mean over the last quarter. */
const [OF_A_STEP, OF_THE_END] = [0.02, 0.1];

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * The losses of a training on the CPU, and how far those on a GPU are from them.
 * @throws Error if they are another course than roundings can make
 */
export function requireSameCourse(name: string, cpu: readonly number[], gpu: readonly number[] | undefined) {
  const end = (losses: readonly number[]): number => mean(losses.slice(-Math.ceil(losses.length / 4)));
  const own = { steps: cpu.length, first: cpu[0]!, end: end(cpu) };
  if (![...cpu, ...(gpu ?? [])].every(Number.isFinite)) throw new Error(`${name}: a non-finite loss`);
  if (!(own.end < own.first)) throw new Error(`${name}: the loss went from ${own.first} to ${own.end}`);
  if (!gpu) return own;
  const gap = (a: number, b: number): number => Math.abs(b / a - 1);
  const ofSteps = Math.max(...cpu.slice(0, FIRST).map((loss, step) => gap(loss, gpu[step]!)));
  const ofEnd = gap(own.end, end(gpu));
  if (gpu.length !== cpu.length || !(ofSteps < OF_A_STEP) || !(ofEnd < OF_THE_END))
    throw new Error(`${name}: on the GPU the first losses differ by ${ofSteps}, the last by ${ofEnd}`);
  return { ...own, firstOnGpu: gpu[0]!, endOnGpu: end(gpu), largestOfFirstSteps: ofSteps, ofEnd };
}
