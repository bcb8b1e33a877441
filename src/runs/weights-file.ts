import { FileError } from '../base/errors.ts';
import type { StateDict } from '../nn/state-dict.ts';
import {
  finiteMask,
  type Metadata,
  readPytorchState,
  readSafetensors,
  readSafetensorsMetadata,
  tensor,
  toUint8,
  zeros,
} from '../torch/index.ts';

/** Prefixes that wrappers put before names: data-parallel training, torch.compile, an outer module; in any order. */
const WRAPPERS = /^(?:(?:module|_orig_mod|model|backbone|encoder|network|net)\.)*/;
/** The batch counter of a batch norm, which nothing reads and old checkpoints lack. */
const UNREAD = '.num_batches_tracked';

/** A file of named tensors. */
export type WeightsFile = {
  /** Makes the tensors in the caller's scope. */
  tensors(): StateDict;
  /** Entries that are no plain tensors. */
  readonly skipped: readonly string[];
  /** What the file says of itself, if `mixbct export` wrote it. */
  readonly metadata: Metadata;
};

/** Reads a PyTorch file or a .safetensors file. @throws FileError if it is neither, or damaged. */
export async function openWeights(path: string): Promise<WeightsFile> {
  if (path.endsWith('.safetensors'))
    return { tensors: () => readSafetensors(path).tensors, skipped: [], metadata: readSafetensorsMetadata(path) };
  const { tensors, skipped, metadata } = await readPytorchState(path);
  return {
    tensors: () => new Map([...tensors].map(([name, { bytes, ...about }]) => [name, tensor(bytes, about)])),
    skipped,
    metadata,
  };
}

/**
 * Removes the wrapper prefix from the names. If no prefix makes all names fit, the one that fits most names is taken, so that
 * the message names what is missing.
 * @throws FileError if the file holds the backbone under several prefixes.
 */
export function withoutPrefix(
  path: string,
  tensors: StateDict,
  names: readonly string[],
): { tensors: StateDict; prefix: string; shadowed: readonly string[] } {
  const wanted = names.filter((name) => !name.endsWith(UNREAD));
  const fits = (prefix: string): number => wanted.filter((name) => tensors.has(prefix + name)).length;
  const prefixes = [...new Set([...tensors.keys()].map((name) => WRAPPERS.exec(name)![0]).flatMap(stackOf))];
  const ranked = prefixes.map((prefix) => ({ prefix, fit: fits(prefix) })).sort((a, b) => b.fit - a.fit);
  const whole = ranked.filter(({ fit }) => fit === wanted.length);
  if (whole.length > 1)
    throw new FileError(
      path,
      `holds this network several times, under ${whole.map(({ prefix }) => prefix || 'no prefix').join(' and ')}`,
      'in Python, save the one that is meant on its own: torch.save(model.state_dict(), "model.pt")',
    );
  const prefix = whole[0]?.prefix ?? (ranked[0] && ranked[0].fit > 0 ? ranked[0].prefix : '');
  if (prefix === '') return { tensors, prefix, shadowed: [] };
  const bare = (name: string): string => (name.startsWith(prefix) ? name.slice(prefix.length) : name);
  const own = new Set([...tensors.keys()].filter((name) => name.startsWith(prefix)).map(bare));
  // an entry without the prefix but of the same name is another one
  const shadowed = [...tensors.keys()].filter((name) => !name.startsWith(prefix) && own.has(name));
  const kept = [...tensors].filter(([name]) => !shadowed.includes(name));
  return { tensors: new Map(kept.map(([name, value]) => [bare(name), value])), prefix, shadowed };
}

/** `a.b.` → '', `a.`, `a.b.`: a name of the backbone may begin like a wrapper. */
function stackOf(wrappers: string): string[] {
  const parts = wrappers.split('.').slice(0, -1);
  return Array.from({ length: parts.length + 1 }, (_, i) =>
    parts
      .slice(0, i)
      .map((part) => `${part}.`)
      .join(''),
  );
}

/** Adds a zero for each missing batch counter, as PyTorch does for checkpoints before version 0.4. */
export function withUnread(tensors: StateDict, names: readonly string[]): StateDict {
  const lacking = names.filter((name) => name.endsWith(UNREAD) && !tensors.has(name));
  return new Map([...tensors, ...lacking.map((name) => [name, zeros([], { dtype: 'int64', device: 'cpu' })] as const)]);
}

const partOf = (name: string): string => name.split('.', 1)[0]!;

/** Drops the entries of parts that the backbone does not have. */
export function withoutTraining(tensors: StateDict, names: readonly string[]): { state: StateDict; leftOut: string[] } {
  const parts = new Set(names.map(partOf));
  return {
    state: new Map([...tensors].filter(([name]) => parts.has(partOf(name)))),
    leftOut: [...tensors.keys()].filter((name) => !parts.has(partOf(name))),
  };
}

/** @throws FileError naming a tensor with a non-finite number */
export function requireFinite(path: string, state: StateDict): void {
  for (const [name, value] of state)
    if (toUint8(finiteMask(value)).includes(0))
      throw new FileError(path, `${name} holds numbers that are not finite`, 'this model has diverged: use another');
}
