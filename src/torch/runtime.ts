import { type AllocatorStats, type BuildInfo, native } from './native.ts';

/** How many threads libtorch uses inside one operator. */
export const threads = (): number => native.threads();

/** Sets the number of threads of libtorch. Two processes of two threads each are slower than one of two on two cores. */
export function setThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1)
    throw new RangeError(`setThreads: wanted a whole number ≥ 1, got ${count}`);
  native.setThreads(count);
}

export const buildInfo = (): BuildInfo => native.build();
export const allocatorStats = (): AllocatorStats => native.allocator();

/** Returns idle memory of the caching allocator, and of malloc, to the system. */
export const trimMemory = (): void => native.trim();
