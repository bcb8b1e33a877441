import { bytesGlobals, MalformedPickle, Opaque, PickleGlobal, type PickleOptions } from '../base/pickle.ts';
import { BYTES } from './tensor.ts';
import type { Dtype } from './tensor-types.ts';

const STORAGES: Readonly<Record<string, Dtype>> = {
  DoubleStorage: 'float64',
  FloatStorage: 'float32',
  HalfStorage: 'float16',
  BFloat16Storage: 'bfloat16',
  LongStorage: 'int64',
  IntStorage: 'int32',
  ShortStorage: 'int16',
  CharStorage: 'int8',
  ByteStorage: 'uint8',
  BoolStorage: 'bool',
};
/** Name in `torch` of the storage of each dtype. */
export const storageNames = Object.fromEntries(
  Object.entries(STORAGES).map(([name, dtype]) => [dtype, name]),
) as Readonly<Record<Dtype, string>>;
/** Storages of dtypes that no model here uses, with the bytes of an element. */
const OTHER_STORAGES: Readonly<Record<string, number>> = {
  ComplexDoubleStorage: 16,
  ComplexFloatStorage: 8,
  QInt32Storage: 4,
  QInt8Storage: 1,
  QUInt8Storage: 1,
  QUInt4x2Storage: 1,
  QUInt2x4Storage: 1,
};

/** A storage, not read yet. dtype null: skipped. */
type StorageFields = {
  readonly key: string;
  readonly dtype: Dtype | null;
  readonly elementBytes: number;
  readonly numel: number;
  /** First element, for a storage inside another one (before PyTorch 0.4). */
  readonly start: number;
};
/** A view of a storage; offset and strides count elements. */
type ViewFields = {
  readonly storage: Storage;
  readonly dtype: Dtype;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
};

// classes, so that nothing a file describes can pass for one
export class Storage {
  readonly of: StorageFields;
  constructor(of: StorageFields) {
    this.of = of;
  }
}

/** A tensor that a checkpoint describes. */
export class View {
  readonly of: ViewFields;
  readonly numel: number;
  constructor(of: ViewFields) {
    this.of = of;
    this.numel = of.shape.reduce((product, size) => product * size, 1);
  }
}

/** The most dimensions that a tensor of PyTorch has. */
const MOST_DIMENSIONS = 64;

/**
 * Rules for the pickles of torch.save: tensors become views of storages, unknown objects are skipped. `bytes`: the length of
 * the pickles, so that work and memory stay linear in it.
 */
export function checkpointPickle(bytes: number): PickleOptions {
  const kinds = new Map<unknown, { readonly dtype: Dtype | null; readonly elementBytes: number }>([
    ...Object.entries(STORAGES).map(([name, dtype]) => {
      return [new PickleGlobal(`torch.${name}`), { dtype, elementBytes: BYTES[dtype] }] as const;
    }),
    ...Object.entries(OTHER_STORAGES).map(([name, elementBytes]) => {
      return [new PickleGlobal(`torch.${name}`), { dtype: null, elementBytes }] as const;
    }),
    [new PickleGlobal('torch.storage.UntypedStorage'), { dtype: null, elementBytes: 1 }],
  ]);
  const dense = new PickleGlobal('torch._utils._rebuild_tensor_v2', viewOf);
  return {
    unknown: 'opaque',
    globals: [
      ...(kinds.keys() as Iterable<PickleGlobal>),
      ...bytesGlobals(),
      dense,
      new PickleGlobal('torch._utils._rebuild_tensor', viewOf),
      new PickleGlobal('torch._utils._rebuild_parameter', ([view]) => view),
      new PickleGlobal('torch._utils._rebuild_parameter_with_state', ([view]) => view),
      // a tensor with attributes, or of a subclass: the numbers are those of the plain tensor
      new PickleGlobal('torch._tensor._rebuild_from_type_v2', ([rebuild, , args]) =>
        rebuild === dense && Array.isArray(args) ? viewOf(args) : new Opaque('torch._tensor._rebuild_from_type_v2', 0),
      ),
      new PickleGlobal('torch.Size', ([sizes]) => sizes),
      new PickleGlobal('torch.device', ([kind]) => kind),
      new PickleGlobal('collections.OrderedDict', dictMaker(bytes)),
      new PickleGlobal('collections.defaultdict', () => new Map()),
    ],
    persistent: (id: unknown): Storage | Opaque => {
      const [what, kind, key, , numel, part] = Array.isArray(id) ? id : [];
      if (what === 'module') return new Opaque(kind instanceof Opaque ? kind.name : 'a module', 0);
      const about = kinds.get(kind);
      if (what === 'storage' && kind instanceof Opaque) return kind;
      if (what !== 'storage' || !about || typeof key !== 'string' || !isCount(numel))
        throw new MalformedPickle('refers to something that is no storage of tensors');
      const [, start = 0, size = numel] = Array.isArray(part) ? part : [];
      if (!isCount(start) || !isCount(size) || start + size > numel)
        throw new MalformedPickle('refers to a part of a storage that is not in it');
      return new Storage({ ...about, key, numel: size, start });
    },
  };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isCounts = (value: unknown): value is readonly number[] =>
  Array.isArray(value) && value.length <= MOST_DIMENSIONS && value.every(isCount);

/** Arguments of torch's `_rebuild_tensor_v2`: storage, offset, shape, strides, and training flags. */
function viewOf([storage, offset, shape, strides]: readonly unknown[]): View | Opaque {
  if (storage instanceof Opaque) return storage;
  if (!(storage instanceof Storage) || !isCount(offset) || !isCounts(shape) || !isCounts(strides))
    throw new MalformedPickle('a tensor without storage, offset, shape and strides');
  if (shape.length !== strides.length) throw new MalformedPickle('a tensor with more sizes than strides, or fewer');
  const { dtype, numel } = storage.of;
  if (dtype === null) return new Opaque('a tensor of complex or quantized numbers', 0);
  const last = shape.reduce((at, size, i) => at + (size - 1) * strides[i]!, offset);
  if (!shape.includes(0) && !(last < numel))
    throw new MalformedPickle(`a tensor that ends at element ${last} of a storage of ${numel}`);
  return new View({ storage, dtype, offset: storage.of.start + offset, shape, strides });
}

/**
 * Makes dicts of nothing, or of a list of pairs, as other writers with protocols 0 and 1 have it. One list may be named again and
 * again: a pickle of `bytes` bytes holds fewer pairs than that, and no more are copied.
 */
function dictMaker(bytes: number): (args: readonly unknown[]) => Map<unknown, unknown> {
  let copied = 0;
  return ([pairs = []]) => {
    if (!Array.isArray(pairs)) throw new MalformedPickle('a dict that is not made of pairs');
    copied += pairs.length;
    if (copied > bytes)
      throw new MalformedPickle('dicts of more pairs than the file has bytes: one list is used too often');
    if (!pairs.every((pair) => Array.isArray(pair) && pair.length === 2))
      throw new MalformedPickle('a dict that is not made of pairs');
    return new Map(pairs as [unknown, unknown][]);
  };
}

/** Copies the elements of a view in row-major order. */
export function contiguous({ of: { dtype, offset, shape, strides }, numel }: View, data: Uint8Array): Uint8Array {
  const size = BYTES[dtype];
  const out = new Uint8Array(numel * size);
  if (numel === 0) return out;
  // the innermost dimensions that are laid out in order are copied as one run
  let [run, outer] = [1, shape.length];
  while (outer > 0 && (shape[outer - 1] === 1 || strides[outer - 1] === run)) run *= shape[--outer]!;
  const index = new Array<number>(outer).fill(0);
  for (let to = 0; to < numel; to += run) {
    const from = index.reduce((at, i, axis) => at + i * strides[axis]!, offset);
    out.set(data.subarray(from * size, (from + run) * size), to * size);
    for (let axis = outer - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) index[axis] = 0;
  }
  return out;
}
