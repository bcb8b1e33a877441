import { type Dtype, normalizeRows, type Tensor, tensor, to, toNumbers } from '../../src/torch/index.ts';

/** The deterministic inputs of the parity vectors: element k is `scale · sin(a + b·k)`, evaluated in double precision. */
export function fill(shape: readonly number[], a: number, b: number, scale = 1, dtype: Dtype = 'float64'): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  const values = Float64Array.from({ length: count }, (_, k) => scale * Math.sin(a + b * k));
  const made = tensor(values, { shape });
  return dtype === 'float64' ? made : to(made, { dtype });
}

export const fillUnitRows = (shape: readonly number[], a: number, b: number): Tensor =>
  normalizeRows(fill(shape, a, b));

export const int64 = (values: readonly number[]): Tensor => tensor(values, { dtype: 'int64' });

/** Largest absolute difference between a tensor (or numbers) and what was expected; NaN if the lengths differ. */
export function gap(actual: Tensor | ArrayLike<number>, expected: ArrayLike<number>): number {
  const numbers = 'dtype' in actual ? toNumbers(actual) : Array.from(actual);
  if (numbers.length !== expected.length) return Number.NaN;
  return numbers.reduce((worst, value, i) => Math.max(worst, Math.abs(value - expected[i]!)), 0);
}
