import { existsSync, readFileSync } from 'node:fs';
import { type AllocatorStats, type BuildInfo, native } from './native.ts';

/** Number of threads of libtorch inside one operator. */
export const threads = (): number => native.threads();

let chosen = false;

/** Whether a number of threads was asked for, by `setThreads` or by OMP_NUM_THREADS. */
export const areThreadsChosen = (): boolean => chosen || process.env['OMP_NUM_THREADS'] !== undefined;

/** Sets the number of threads of libtorch. Two processes of two threads each are slower than one of two on two cores. */
export function setThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1)
    throw new RangeError(`setThreads: wanted a whole number ≥ 1, got ${count}`);
  native.setThreads(count);
  chosen = true;
}

export const buildInfo = (): BuildInfo => native.build();
export const allocatorStats = (): AllocatorStats => native.allocator();

/** Returns idle memory of the caching allocator, and of malloc, to the system. */
export const trimMemory = (): void => native.trim();

/** Flags of /proc/cpuinfo for instructions that multiply bfloat16: oneDNN's bf16 kernels need one of the first three on x86. */
const BF16_FLAGS = ['amx_bf16', 'avx512_bf16', 'avx_ne_convert', 'bf16', 'svebf16'];

let flags: readonly string[] | undefined;

/** This processor's flags in /proc/cpuinfo; empty if it has none. */
function cpuFlags(): readonly string[] {
  const text = (): string => (existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '');
  flags ??= /^(?:flags|Features)\s*:(.*)$/m.exec(text())?.[1]?.trim().split(/\s+/) ?? [];
  return flags;
}

/** Single-precision numbers in a vector register, as oneDNN uses it: 16 unless known to be 8. */
export const vectorFloats = (): number => (cpuFlags().includes('avx2') && !cpuFlags().includes('avx512f') ? 8 : 16);

/** This processor's instructions for bfloat16. Without any, libtorch emulates bfloat16, slower than float32. */
export function bf16Instructions(): string[] {
  return BF16_FLAGS.filter((flag) => cpuFlags().includes(flag));
}
