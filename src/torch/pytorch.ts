import { constants } from 'node:buffer';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { z } from 'zod';
import { FileError, messageOf } from '../base/errors.ts';
import { Opaque, readPickle, unknownName } from '../base/pickle.ts';
import { readRegularFile } from '../base/regular-file.ts';
import { checkpointPickle, contiguous, View } from './checkpoint-pickle.ts';
import { isLegacyCheckpoint, readLegacyCheckpoint } from './legacy-checkpoint.ts';
import { METADATA } from './pytorch-writer.ts';
import { BYTES } from './tensor.ts';
import type { HostTensor } from './tensor-types.ts';
import { openZip, type Zip } from './zip.ts';

/** Keys of the network's state in checkpoints of several parts: the reference's first, then common ones. */
const STATE_KEYS = ['state_dict_backbone', 'state_dict', 'model_state_dict', 'model', 'backbone', 'network', 'net'];
const RESAVE = 'in Python: torch.save(model.state_dict(), "model.pt")';
/** Views may overlap, so a small file may describe more than it holds; no checkpoint does by more than this. */
const [MOST_TIMES_FILE, AND_BYTES] = [4, 1 << 20];

/** A checkpoint that has been opened: what was saved, and the bytes of the storages it refers to. */
type Archive = {
  /** Bytes of the file. */
  readonly size: number;
  readonly content: unknown;
  /** The bytes of a storage and its name in messages; undefined if the file lacks it. */
  storage(key: string): Promise<Uint8Array | undefined>;
  nameOf(key: string): string;
  readonly metadata: PytorchState['metadata'];
};

/** A saved state, and its entries that are no plain tensors: `name (what it is)`. */
export type PytorchState = {
  readonly tensors: Map<string, HostTensor>;
  readonly skipped: readonly string[];
  /** What `pytorchArchive` wrote beside the state; empty in files of other programs. */
  readonly metadata: Readonly<Record<string, string>>;
};

/** `readPytorchState` without what was skipped. */
export const readPytorch = async (path: string): Promise<Map<string, HostTensor>> =>
  (await readPytorchState(path)).tensors;

/**
 * The named tensors of a checkpoint that torch.save wrote, in the ZIP format or the one before PyTorch 1.6: a state_dict, or a
 * dict of several parts of which exactly one is a state under a name such as `state_dict_backbone`, `state_dict` or `model`.
 * Runs nothing of what the file names: objects of classes other than tensors and containers are skipped. In file order;
 * views that share a storage or are laid out otherwise become tensors of their own.
 *
 * Source: methods.md 2.10 and 3.1 on what is saved; the layout of the archive as torch.save (2.13) writes it.
 * @throws FileError naming what is wrong: no such archive, cut short, damaged, big-endian, TorchScript, a whole module, …
 */
export async function readPytorchState(path: string): Promise<PytorchState> {
  using zip = isLegacyCheckpoint(startOf(path)) ? null : await openZip(path, RESAVE);
  const archive = zip ? await zipArchive(path, zip) : legacyArchive(path);
  const { state, skipped } = stateOf(path, archive.content);
  const total = [...state.values()].reduce((sum, view) => sum + view.numel * BYTES[view.of.dtype], 0);
  if (!(total <= MOST_TIMES_FILE * archive.size + AND_BYTES))
    throw new FileError(path, `describes ${total} bytes of tensors, but is itself ${archive.size} bytes long`, RESAVE);
  return { tensors: await readViews(path, archive, state), skipped, metadata: archive.metadata };
}

/** Reads the first bytes of a regular file. */
function startOf(path: string): Uint8Array {
  let fd: number | undefined;
  try {
    if (!statSync(path).isFile()) throw new Error('it is no regular file'); // a pipe would wait for its other end
    fd = openSync(path, 'r');
    const start = new Uint8Array(32);
    return start.subarray(0, readSync(fd, start));
  } catch (error) {
    throw new FileError(path, `cannot be read (${messageOf(error)})`);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function legacyArchive(path: string): Archive {
  const data = readWhole(path);
  const { content, storage } = readLegacyCheckpoint(path, data, RESAVE);
  const nameOf = (key: string): string => `storage ${key}`;
  return { size: data.length, content, storage: async (key) => storage(key), nameOf, metadata: {} };
}

/** The bytes of a checkpoint in the older format, whose parts can only be found one after the other. @throws FileError if they are too many */
function readWhole(path: string): Buffer {
  const { size } = statSync(path);
  if (size <= constants.MAX_LENGTH) return readRegularFile(path);
  throw new FileError(
    path,
    `has ${size} bytes, and of the format before PyTorch 1.6 at most ${constants.MAX_LENGTH} can be read`,
    RESAVE,
  );
}

async function zipArchive(path: string, zip: Zip): Promise<Archive> {
  const root = rootOf(path, zip);
  if (zip.has(`${root}byteorder`)) {
    const order = Buffer.from(await zip.read(`${root}byteorder`)).toString('latin1');
    if (order !== 'little')
      throw new FileError(path, `its numbers are ${order}-endian, wanted little-endian`, 'save it on another machine');
  }
  const nameOf = (key: string): string => `${root}data/${key}`;
  const pickle = await zip.read(`${root}data.pkl`);
  return {
    size: zip.size,
    content: readPickle(path, pickle, checkpointPickle(pickle.length)),
    storage: async (key) => (zip.has(nameOf(key)) ? await zip.read(nameOf(key)) : undefined),
    nameOf,
    metadata: await metadataIn(path, zip, `${root}${METADATA}`),
  };
}

const metadataSchema = z.record(z.string(), z.string());

async function metadataIn(path: string, zip: Zip, entry: string): Promise<PytorchState['metadata']> {
  if (!zip.has(entry)) return {};
  try {
    return metadataSchema.parse(JSON.parse(Buffer.from(await zip.read(entry)).toString('utf8')));
  } catch (error) {
    if (error instanceof FileError) throw error;
    throw new FileError(
      path,
      `its record ${entry} is no list of texts by name`,
      'export the model again: mixbct export',
    );
  }
}

/** The archive's top folder, with its slash. */
function rootOf(path: string, zip: Zip): string {
  const pickles = zip.names.filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const root = pickles[0]?.slice(0, -'data.pkl'.length);
  if (pickles.length !== 1 || root === undefined)
    throw new FileError(path, 'is a ZIP archive, but no checkpoint of PyTorch: wanted one data.pkl in it', RESAVE);
  if (zip.has(`${root}constants.pkl`) || zip.names.some((name) => name.startsWith(`${root}code/`)))
    throw new FileError(
      path,
      'is a TorchScript program, wanted a state_dict',
      `in Python: torch.save(torch.jit.load("${basename(path)}").state_dict(), "model.pt")`,
    );
  return root;
}

type State = ReadonlyMap<string, View>;
type Parts = ReadonlyMap<unknown, unknown>;

const named = (value: unknown): value is ReadonlyMap<string, unknown> =>
  value instanceof Map && value.size > 0 && [...value.keys()].every((name) => typeof name === 'string');
const isState = (value: unknown): value is State =>
  named(value) && [...value.values()].every((view) => view instanceof View);
/** A state with entries that are no tensors. */
const holdsTensors = (value: unknown): value is ReadonlyMap<string, unknown> =>
  named(value) && [...value.values()].some((view) => view instanceof View);

/** The state itself, or the one part of a checkpoint that is one. @throws FileError listing the keys there are. */
function stateOf(path: string, content: unknown): { state: State; skipped: string[] } {
  if (isState(content)) return { state: content, skipped: [] };
  const unpickle = `torch.load("${basename(path)}", weights_only=False)`;
  if (content instanceof Opaque) {
    const { problem } = unknownName(path, content);
    const hint = `if it is a whole model, in Python: torch.save(${unpickle}.state_dict(), "model.pt")`;
    throw new FileError(path, problem.slice(`${path}: `.length), hint);
  }
  if (!(content instanceof Map)) throw new FileError(path, 'holds no dict of tensors', RESAVE);
  const parts: Parts = content;
  const found = STATE_KEYS.filter((key) => holdsTensors(parts.get(key)));
  if (found.length === 1) return onlyTensors(parts.get(found[0]) as ReadonlyMap<string, unknown>);
  if (found.length === 0 && holdsTensors(content)) return onlyTensors(content);
  const keys = [...parts].map(([key, value]) => described(key, value)).slice(0, 20);
  throw new FileError(
    path,
    found.length > 1
      ? `holds several states (${found.join(', ')}): which one is meant?`
      : `is neither a dict of tensors nor has one under ${STATE_KEYS.join(', ')}; its keys are: ${keys.join(', ') || 'none'}`,
    `in Python, save the state_dict on its own: torch.save(${unpickle}["…"], "model.pt")`,
  );
}

/** Describes an entry that is no tensor. */
function described(key: unknown, value: unknown): string {
  const name = typeof key === 'string' ? key : typeof key;
  return value instanceof Opaque ? `${name} (${value.name})` : name;
}

function onlyTensors(entries: ReadonlyMap<string, unknown>): { state: State; skipped: string[] } {
  const state = new Map<string, View>();
  const skipped: string[] = [];
  for (const [name, value] of entries)
    if (value instanceof View) state.set(name, value);
    else skipped.push(described(name, value));
  return { state, skipped };
}

/** Reads each storage once, however many views it has. */
async function readViews(path: string, archive: Archive, state: State): Promise<Map<string, HostTensor>> {
  const byKey = new Map<string, [string, View][]>();
  for (const [name, view] of state) {
    const { key } = view.of.storage.of;
    const views = byKey.get(key) ?? [];
    views.push([name, view]);
    byKey.set(key, views);
  }
  const read = new Map<string, HostTensor>();
  for (const [key, views] of byKey) {
    const [entry, data] = [archive.nameOf(key), await archive.storage(key)];
    if (!data) throw new FileError(path, `the numbers of ${views[0]![0]} (${entry}) are missing`, RESAVE);
    for (const [name, view] of views) {
      const { dtype, shape, storage } = view.of;
      const numel = storage.of.start + storage.of.numel;
      if (numel * BYTES[dtype] > data.length)
        throw new FileError(path, `${entry} has ${data.length} bytes, ${name} wants ${numel} elements of ${dtype}`);
      read.set(name, { dtype, shape, bytes: contiguous(view, data) });
    }
  }
  return new Map([...state.keys()].map((name) => [name, read.get(name)!]));
}
