import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { PickleWriter } from '../base/pickle-writer.ts';
import { storageNames } from './checkpoint-pickle.ts';
import type { HostTensor } from './tensor-types.ts';

/** Of the archive's records; that of torch.save since PyTorch 1.6. */
const FORMAT_VERSION = '3\n';
/** The folder that everything stands in, in the archive. */
const ROOT = 'model/';
/** The record with what a file says of itself. */
export const METADATA = 'mixbct.json';

/**
 * A state_dict as torch.save writes one, in chunks: `torch.load(path, weights_only=True)` gives the tensors by these names, in
 * this order. `metadata` becomes the first record of the archive, `model/mixbct.json`, which PyTorch passes over.
 */
export async function pytorchArchive(
  state: ReadonlyMap<string, HostTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array[]> {
  const { ZipFile } = await import('yazl');
  const zip = new ZipFile();
  const mtime = new Date('1980-01-01T12:00:00Z'); // the archive's bytes depend on the state alone
  const add = (name: string, content: Uint8Array | string): void => {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    // as a stream: yazl takes no buffer above 1 GiB
    zip.addReadStreamLazy(ROOT + name, { compress: false, mtime, size: bytes.length }, (done) =>
      done(null, Readable.from(piecesOf(bytes))),
    );
  };
  add(METADATA, JSON.stringify(metadata));
  add('data.pkl', pickled(state));
  add('byteorder', 'little');
  for (const [i, { bytes }] of [...state.values()].entries()) add(`data/${i}`, bytes);
  add('version', FORMAT_VERSION);
  zip.end();
  const chunks: Uint8Array[] = [];
  zip.outputStream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await finished(zip.outputStream, { writable: false });
  return chunks;
}

/** Bytes of an entry that are handed over at a time. */
const PIECE = 16 << 20;

/** Views of an entry's bytes. */
function* piecesOf(bytes: Uint8Array): Iterable<Uint8Array> {
  for (let from = 0; from < bytes.length; from += PIECE) yield bytes.subarray(from, from + PIECE);
}

/** An OrderedDict of tensors, each a whole storage of its own. */
function pickled(state: ReadonlyMap<string, HostTensor>): Buffer {
  const pickle = new PickleWriter();
  const emptyDict = (): PickleWriter =>
    pickle
      .global('collections', 'OrderedDict')
      .tuple(() => undefined)
      .reduce();
  emptyDict().setItems(() => {
    for (const [i, [name, value]] of [...state].entries()) {
      pickle.text(name).global('torch._utils', '_rebuild_tensor_v2');
      pickle.tuple(() => rebuilding(pickle, String(i), value, emptyDict)).reduce();
    }
  });
  return pickle.finish();
}

/** The arguments of _rebuild_tensor_v2: storage, offset, shape, strides, requires_grad, hooks. */
function rebuilding(pickle: PickleWriter, key: string, { dtype, shape }: HostTensor, noHooks: () => void): void {
  const numel = shape.reduce((product, size) => product * size, 1);
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((product, size) => product * size, 1));
  const sizes = (values: readonly number[]): PickleWriter =>
    pickle.tuple(() => {
      for (const value of values) pickle.integer(value);
    });
  pickle
    .tuple(() => pickle.text('storage').global('torch', storageNames[dtype]).text(key).text('cpu').integer(numel))
    .persistent()
    .integer(0);
  sizes(shape);
  sizes(strides);
  pickle.no();
  noHooks();
}
