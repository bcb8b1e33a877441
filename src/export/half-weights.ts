import { fitsHalf } from '../base/half.ts';

/** Whether `--half` stores learned numbers in float16. Vectors, and what float16 cannot hold, stay float32. */
export const isStoredAsHalf = (shape: readonly number[], numbers: Float32Array): boolean =>
  shape.length > 1 && fitsHalf(numbers);
