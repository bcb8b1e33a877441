/** Type codes of NumPy and how DataView writes them. */
const setters = {
  f4: 'setFloat32',
  f8: 'setFloat64',
  i1: 'setInt8',
  i2: 'setInt16',
  i4: 'setInt32',
  i8: 'setBigInt64',
  u1: 'setUint8',
  u2: 'setUint16',
  u4: 'setUint32',
  u8: 'setBigUint64',
  f2: 'setUint16', // bit patterns
} as const;

/** A .npy file of any element type and order, byte by byte as NumPy's documentation has it. Values are in C order. */
export function foreignNpy(
  descr: string,
  shape: readonly number[],
  values: readonly (number | bigint)[],
  { fortran = false }: { readonly fortran?: boolean } = {},
): Buffer {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const text = `{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': ${tuple}, }`;
  const head = Buffer.from(`\x93NUMPY\x01\x00v\x00${text.padEnd(117)}\n`, 'latin1');
  const code = descr.slice(1) as keyof typeof setters;
  const width = Number(code[1]);
  const view = new DataView(new ArrayBuffer(values.length * width));
  const [rows, columns] = [shape[0] ?? 1, values.length / (shape[0] ?? 1)];
  for (const [i, value] of values.entries()) {
    const place = fortran ? (i % columns) * rows + Math.floor(i / columns) : i;
    const set = view[setters[code]] as (at: number, value: number | bigint, little: boolean) => void;
    set.call(view, place * width, value, !descr.startsWith('>'));
  }
  return Buffer.concat([head, new Uint8Array(view.buffer)]);
}
