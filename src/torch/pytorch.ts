import { FileError } from '../base/errors.ts';
import { bytesGlobals, Malformed, PickleGlobal, readPickle } from '../base/pickle.ts';
import { BYTES, type Dtype } from './tensor.ts';
import { openZip, type Zip } from './zip.ts';

/** A tensor as numbers in memory: row-major, contiguous, `BYTES[dtype]` bytes for each element. Make one with `tensor()`. */
export type HostTensor = { readonly dtype: Dtype; readonly shape: readonly number[]; readonly bytes: Uint8Array };

/** Names under which a checkpoint of several parts keeps the network's state: the reference's first, then those in common use. */
const STATE_KEYS = ['state_dict_backbone', 'state_dict', 'model_state_dict', 'model', 'backbone', 'network', 'net'];
const RESAVE = 'in Python: torch.save(model.state_dict(), "model.pt")';
/** Views may overlap, so a small file may describe more than it holds; no checkpoint does by more than this. */
const [MOST_TIMES_FILE, AND_BYTES] = [4, 1 << 20];

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

/** Elements of one dtype in an entry of the archive, not read yet. */
type StorageFields = { readonly key: string; readonly dtype: Dtype; readonly numel: number };
/** A view of a storage; offset and strides count elements. */
type ViewFields = {
  readonly storage: Storage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
};

// classes, so that nothing a file describes can pass for one
class Storage {
  readonly of: StorageFields;
  constructor(of: StorageFields) {
    this.of = of;
  }
}

class View {
  readonly of: ViewFields;
  readonly numel: number;
  constructor(of: ViewFields) {
    this.of = of;
    this.numel = of.shape.reduce((product, size) => product * size, 1);
  }
}

/**
 * The named tensors of a checkpoint that PyTorch 1.6 or newer wrote with torch.save: a state_dict, or a dict of several parts
 * of which exactly one is a state under a name such as `state_dict_backbone`, `state_dict` or `model`. Runs nothing of what
 * the file names. In file order; views that share a storage or are laid out otherwise become tensors of their own.
 *
 * Source: methods.md 2.10 and 3.1 on what is saved; the layout of the archive as torch.save (2.13) writes it.
 * @throws FileError naming what is wrong: no such archive, cut short, damaged, big-endian, TorchScript, a whole module, …
 */
export async function readPytorch(path: string): Promise<Map<string, HostTensor>> {
  const zip = await openZip(path, RESAVE);
  const root = rootOf(path, zip);
  if (zip.has(`${root}byteorder`)) {
    const order = Buffer.from(await zip.read(`${root}byteorder`)).toString('latin1');
    if (order !== 'little')
      throw new FileError(path, `its numbers are ${order}-endian, wanted little-endian`, 'save it on another machine');
  }
  const state = stateOf(path, readPickle(path, await zip.read(`${root}data.pkl`), pickleOptions()));
  const total = [...state.values()].reduce((sum, view) => sum + view.numel * BYTES[view.of.storage.of.dtype], 0);
  if (!(total <= MOST_TIMES_FILE * zip.size + AND_BYTES))
    throw new FileError(path, `describes ${total} bytes of tensors, but is itself ${zip.size} bytes long`, RESAVE);
  return await readViews(path, zip, root, state);
}

/** The folder inside the archive that everything stands in, with its slash. */
function rootOf(path: string, zip: Zip): string {
  const pickles = zip.names.filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const root = pickles[0]?.slice(0, -'data.pkl'.length);
  if (pickles.length !== 1 || root === undefined)
    throw new FileError(path, 'is a ZIP archive, but no checkpoint of PyTorch: wanted one data.pkl in it', RESAVE);
  if (zip.has(`${root}constants.pkl`) || zip.names.some((name) => name.startsWith(`${root}code/`)))
    throw new FileError(path, 'is a TorchScript program, wanted a state_dict', RESAVE);
  return root;
}

function pickleOptions() {
  const storages = new Map(
    Object.entries(STORAGES).map(([name, dtype]) => [new PickleGlobal(`torch.${name}`) as unknown, dtype] as const),
  );
  return {
    globals: [
      ...(storages.keys() as Iterable<PickleGlobal>),
      ...bytesGlobals(),
      new PickleGlobal('torch._utils._rebuild_tensor_v2', viewOf),
      new PickleGlobal('torch._utils._rebuild_parameter', ([view]) => view),
      new PickleGlobal('torch.Size', ([sizes]) => sizes),
      new PickleGlobal('torch.device', ([kind]) => kind),
      new PickleGlobal('collections.OrderedDict', dictOf),
      new PickleGlobal('collections.defaultdict', () => new Map()),
    ],
    persistent: (id: unknown): Storage => {
      const [what, kind, key, , numel] = Array.isArray(id) ? id : [];
      const dtype = storages.get(kind);
      if (what !== 'storage' || !dtype || typeof key !== 'string' || !isCount(numel))
        throw new Malformed('refers to something that is no storage of tensors');
      return new Storage({ key, dtype, numel });
    },
  };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isCounts = (value: unknown): value is readonly number[] => Array.isArray(value) && value.every(isCount);

/** The arguments that torch gives to rebuild a dense tensor: storage, offset, shape, strides, and what concerns training. */
function viewOf([storage, offset, shape, strides]: readonly unknown[]): View {
  if (!(storage instanceof Storage) || !isCount(offset) || !isCounts(shape) || !isCounts(strides))
    throw new Malformed('a tensor without storage, offset, shape and strides');
  if (shape.length !== strides.length) throw new Malformed('a tensor with more sizes than strides, or fewer');
  const last = shape.reduce((at, size, i) => at + (size - 1) * strides[i]!, offset);
  if (!shape.includes(0) && !(last < storage.of.numel))
    throw new Malformed(`a tensor that ends at element ${last} of a storage of ${storage.of.numel}`);
  return new View({ storage, offset, shape, strides });
}

/** Nothing, or pairs in a list as protocols 0 and 1 of other writers have it. */
function dictOf([pairs = []]: readonly unknown[]): Map<unknown, unknown> {
  if (!Array.isArray(pairs) || !pairs.every((pair) => Array.isArray(pair) && pair.length === 2))
    throw new Malformed('a dict that is not made of pairs');
  return new Map(pairs as [unknown, unknown][]);
}

const isState = (value: unknown): value is Map<string, View> =>
  value instanceof Map &&
  value.size > 0 &&
  [...value].every(([name, view]) => typeof name === 'string' && view instanceof View);

/** The state itself, or the one part of a checkpoint that is one. @throws FileError listing the keys there are. */
function stateOf(path: string, content: unknown): Map<string, View> {
  if (isState(content)) return content;
  if (!(content instanceof Map)) throw new FileError(path, 'holds no dict of tensors', RESAVE);
  const found = STATE_KEYS.filter((key) => isState(content.get(key)));
  const [only] = found;
  if (only !== undefined && found.length === 1) return content.get(only) as Map<string, View>;
  const keys = [...content.keys()].map((key) => (typeof key === 'string' ? key : typeof key)).slice(0, 20);
  throw new FileError(
    path,
    found.length > 1
      ? `holds several states (${found.join(', ')}): which one is meant?`
      : `is neither a dict of tensors nor has one under ${STATE_KEYS.join(', ')}; its keys are: ${keys.join(', ') || 'none'}`,
    'in Python, save the state_dict on its own: torch.save(checkpoint["…"], "model.pt")',
  );
}

/** Reads each storage once, however many views it has. */
async function readViews(
  path: string,
  zip: Zip,
  root: string,
  state: ReadonlyMap<string, View>,
): Promise<Map<string, HostTensor>> {
  const byKey = new Map<string, [string, View][]>();
  for (const [name, view] of state) {
    const { key } = view.of.storage.of;
    const views = byKey.get(key) ?? [];
    views.push([name, view]);
    byKey.set(key, views);
  }
  const read = new Map<string, HostTensor>();
  for (const [key, views] of byKey) {
    const entry = `${root}data/${key}`;
    if (!zip.has(entry)) throw new FileError(path, `the numbers of ${views[0]![0]} (${entry}) are missing`, RESAVE);
    const data = await zip.read(entry);
    for (const [name, view] of views) {
      const { dtype, numel } = view.of.storage.of;
      if (numel * BYTES[dtype] > data.length)
        throw new FileError(path, `${entry} has ${data.length} bytes, ${name} wants ${numel} elements of ${dtype}`);
      read.set(name, { dtype, shape: view.of.shape, bytes: contiguous(view, data) });
    }
  }
  return new Map([...state.keys()].map((name) => [name, read.get(name)!]));
}

/** The elements of a view in row-major order, in memory of their own. */
function contiguous({ of: { storage, offset, shape, strides }, numel }: View, data: Uint8Array): Uint8Array {
  const size = BYTES[storage.of.dtype];
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
