/** Whether a key can be an id in a column of whole numbers of `bits` bits: stores refuse others, or take them for another number. */
export function isIntegerKey(key: string, bits: number, { signed = true } = {}): boolean {
  if (!/^-?\d+$/.test(key)) return false;
  const value = BigInt(key);
  return value === (signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value));
}
