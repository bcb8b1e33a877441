import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { z } from 'zod';
import { renameDurably, writeFileDurably } from '../artifacts/durable-write.ts';
import { FileError, messageOf } from '../base/errors.ts';
import { readFully } from '../base/regular-file.ts';
import { BYTES, hostTensor, tensor } from './tensor.ts';
import type { Dtype, HostTensor, Tensor } from './tensor-types.ts';

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

/** Writes named tensors as a safetensors file: to a temporary name, synced, then renamed, so that `path` always holds a whole file. */
export function writeSafetensors(
  path: string,
  tensors: Iterable<readonly [string, Tensor]>,
  metadata: Metadata = {},
): void {
  const temporary = `${path}.part`;
  writeFileDurably(
    temporary,
    safetensorsChunks(
      [...tensors].map(([name, value]) => [name, hostTensor(value)]),
      metadata,
    ),
  );
  renameDurably(temporary, path);
}

/** A safetensors file in chunks. `metadata` goes into the header. */
export function safetensorsChunks(
  tensors: Iterable<readonly [string, HostTensor]>,
  metadata: Metadata = {},
): Uint8Array[] {
  const entries: [string, Entry][] = [];
  const chunks: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    entries.push([name, { dtype: CODES[dtype], shape: [...shape], data_offsets: [offset, offset + bytes.length] }]);
    chunks.push(bytes);
    offset += bytes.length;
  }
  const text = JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) });
  const header = Buffer.from(text + ' '.repeat((8 - (Buffer.byteLength(text) % 8)) % 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return [length, header, ...chunks];
}

export type TensorFile = { readonly tensors: Map<string, Tensor>; readonly metadata: Metadata };

/**
 * Reads a safetensors file of any size, one tensor at a time; the tensors belong to the caller's scope.
 * @throws FileError naming what is wrong with it.
 */
export const readSafetensors = (path: string): TensorFile => withFile(path, (file) => readTensors(path, file));

/** The metadata in the header of a safetensors file. @throws FileError as `readSafetensors` */
export const readSafetensorsMetadata = (path: string): Metadata =>
  withFile(path, (file) => readHeader(path, file).metadata);

function withFile<T>(path: string, use: (file: number) => T): T {
  let file: number;
  try {
    if (!statSync(path).isFile()) throw new Error('it is no regular file'); // a pipe would wait for its other end
    file = openSync(path, 'r');
  } catch (error) {
    throw new FileError(path, `cannot be read (${messageOf(error)})`);
  }
  try {
    return use(file);
  } finally {
    closeSync(file);
  }
}

type Header = {
  readonly metadata: Metadata;
  readonly entries: Readonly<Record<string, Entry>>;
  readonly dataStart: number;
};

function readHeader(path: string, file: number): Header {
  const { size } = fstatSync(file);
  const headerLength = size >= 8 ? Number(readFully(file, path, Buffer.alloc(8)).readBigUInt64LE(0)) : Number.NaN;
  if (!(headerLength > 0 && headerLength <= MAX_HEADER_BYTES && 8 + headerLength <= size))
    throw new FileError(path, 'is not a safetensors file, or is cut short');
  const text = readFully(file, path, Buffer.alloc(headerLength), 8).toString('utf8');
  const { __metadata__: metadata, ...entries } = parseHeader(path, text);
  return { metadata, entries: entries as Record<string, Entry>, dataStart: 8 + headerLength };
}

function readTensors(path: string, file: number): TensorFile {
  const header = readHeader(path, file);
  const { size } = fstatSync(file);
  const places = Object.entries(header.entries).map(([name, entry]) => placeOf(path, { name, ...entry }, header, size));
  const [total, there] = [places.reduce((sum, { bytes }) => sum + bytes, 0), size - header.dataStart];
  if (total > there)
    // a small file would take any amount of memory
    throw new FileError(path, `its tensors overlap: they have ${total} bytes, and it holds ${there}`, 'save it anew');
  const tensors = new Map<string, Tensor>();
  for (const { name, shape, dtype, start, bytes } of places)
    tensors.set(name, tensor(readFully(file, path, new Uint8Array(bytes), start), { shape, dtype }));
  return { tensors, metadata: header.metadata };
}

/** Where a tensor stands in the file, whose length is `size`. @throws FileError if its entry is wrong, or it ends beyond the file */
function placeOf(
  path: string,
  { name, dtype: code, shape, data_offsets: [from, to] }: Entry & { readonly name: string },
  { dataStart }: Header,
  size: number,
) {
  const dtype = NAMES[code];
  if (!dtype)
    throw new FileError(path, `tensor ${name} has type ${code}, wanted one of ${Object.keys(NAMES).join(', ')}`);
  const bytes = shape.reduce((product, length) => product * length, BYTES[dtype]);
  if (to - from !== bytes)
    throw new FileError(
      path,
      `tensor ${name} [${shape.join(', ')}] of ${dtype} needs ${bytes} bytes, the header gives it ${to - from}`,
    );
  const start = dataStart + from;
  if (start + bytes > size)
    throw new FileError(path, `is cut short: tensor ${name} ends at byte ${start + bytes} of ${size}`);
  return { name, shape, dtype, start, bytes };
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
