/** A vector as pgvector reads one: the digits of each number are enough to give its very bits. */
export const vectorText = (vector: Float32Array): string =>
  `[${Array.from(vector, (x) => (Object.is(x, -0) ? '-0' : x)).join(',')}]`;

/** The version of a row whose vector this SQL is. */
export const versionSql = (vector: string): string => `coalesce(md5(vector_send(${vector})), 'none')`;

/** A vector as pgvector sends one: 16 bits of dimensions, 16 unused ones, then float32; the highest byte of each comes first. */
export function vectorOfWire(value: unknown): Float32Array | null {
  if (!(value instanceof Uint8Array)) return null;
  const bytes = new Uint8Array(value.subarray(4)); // a copy, which begins where numbers may
  Buffer.from(bytes.buffer).swap32();
  return new Float32Array(bytes.buffer);
}
