import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { z } from 'zod';
import { FileError, messageOf } from '../base/errors.ts';
import { BYTES, type Dtype, type Tensor, tensor, toBytes } from './tensor.ts';

const NAMES: Readonly<Record<string, Dtype>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U8: 'uint8',
  BOOL: 'bool',
};
const CODES = Object.fromEntries(Object.entries(NAMES).map(([code, dtype]) => [dtype, code])) as Record<Dtype, string>;
/** Largest header the format allows. */
const MAX_HEADER_BYTES = 100_000_000;

const count = z.int().nonnegative();
const entrySchema = z.object({ dtype: z.string(), shape: z.array(count), data_offsets: z.tuple([count, count]) });
type Entry = z.infer<typeof entrySchema>;
const headerSchema = z.object({ __metadata__: z.record(z.string(), z.string()).default({}) }).catchall(entrySchema);
export type Metadata = Readonly<Record<string, string>>;

/**
 * Writes named tensors as a safetensors file: to a temporary name, synced, then renamed, so that `path` always holds a
 * whole file. `metadata` goes into the header.
 */
export function writeSafetensors(
  path: string,
  tensors: Iterable<readonly [string, Tensor]>,
  metadata: Metadata = {},
): void {
  const entries: [string, Entry][] = [];
  const chunks: Uint8Array[] = [];
  let offset = 0;
  for (const [name, value] of tensors) {
    const bytes = toBytes(value);
    entries.push([
      name,
      { dtype: CODES[value.dtype], shape: [...value.shape], data_offsets: [offset, offset + bytes.length] },
    ]);
    chunks.push(bytes);
    offset += bytes.length;
  }
  const text = JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) });
  const header = Buffer.from(text + ' '.repeat((8 - (Buffer.byteLength(text) % 8)) % 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const temporary = `${path}.part`;
  try {
    const file = openSync(temporary, 'w');
    try {
      for (const chunk of [length, header, ...chunks]) writeAll(file, chunk);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, Math.min(bytes.length - at, 1 << 30));
}

export type TensorFile = { readonly tensors: Map<string, Tensor>; readonly metadata: Metadata };

/** Reads a safetensors file; the tensors belong to the caller's scope. @throws FileError naming what is wrong with it. */
export function readSafetensors(path: string): TensorFile {
  let data: Buffer;
  try {
    data = readFileSync(path);
  } catch (error) {
    throw new FileError(path, `cannot be read (${messageOf(error)})`);
  }
  const headerLength = data.length >= 8 ? Number(data.readBigUInt64LE(0)) : Number.NaN;
  if (!(headerLength > 0 && headerLength <= MAX_HEADER_BYTES && 8 + headerLength <= data.length))
    throw new FileError(path, 'is not a safetensors file, or is cut short');
  const { __metadata__: metadata, ...entries } = parseHeader(path, data.toString('utf8', 8, 8 + headerLength));
  const tensors = new Map<string, Tensor>();
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(entries as Record<string, Entry>)) {
    const known = NAMES[dtype];
    if (!known)
      throw new FileError(path, `tensor ${name} has type ${dtype}, wanted one of ${Object.keys(NAMES).join(', ')}`);
    const bytes = shape.reduce((product, size) => product * size, BYTES[known]);
    if (offsets[1] - offsets[0] !== bytes)
      throw new FileError(
        path,
        `tensor ${name} [${shape.join(', ')}] of ${known} needs ${bytes} bytes, the header gives it ${offsets[1] - offsets[0]}`,
      );
    const [start, end] = offsets.map((at) => 8 + headerLength + at) as [number, number];
    if (end > data.length)
      throw new FileError(path, `is cut short: tensor ${name} ends at byte ${end} of ${data.length}`);
    tensors.set(name, tensor(new Uint8Array(data.subarray(start, end)), { shape, dtype: known }));
  }
  return { tensors, metadata };
}

function parseHeader(path: string, text: string): z.infer<typeof headerSchema> {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    throw new FileError(path, `has a broken header (${messageOf(error)})`);
  }
  const result = headerSchema.safeParse(raw);
  if (!result.success)
    throw new FileError(path, `has a header that describes no tensors: ${z.prettifyError(result.error)}`);
  return result.data;
}
