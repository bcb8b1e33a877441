/** A value of a column as JSON has it: a whole number of 64 bits is a number if that is exact, else its digits as text. */
export function numberOrText(value: unknown): unknown {
  if (typeof value !== 'bigint') return value;
  return BigInt(Number(value)) === value ? Number(value) : String(value);
}
