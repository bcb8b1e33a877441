import { FileError } from '../base/errors.ts';
import { readFirstPickle } from '../base/pickle.ts';
import { checkpointPickle, Storage } from './checkpoint-pickle.ts';

/** torch.serialization.MAGIC_NUMBER, 0x1950a86a20f9469cfc6c, as an integer of 10 bytes. */
const MAGIC = Buffer.from('8a0a6cfc9c46f9206aa85019', 'hex');
const PROTOCOL = 1001;

/** Whether a file begins as torch.save wrote it before PyTorch 1.6 (and still does if asked to). */
export const isLegacyCheckpoint = (start: Uint8Array): boolean =>
  start[0] === 0x80 && Buffer.compare(Buffer.from(start).subarray(2, 2 + MAGIC.length), MAGIC) === 0;

/**
 * A checkpoint in the format before PyTorch 1.6: five pickles (a magic number, the format's version, the machine, the object,
 * the keys of the storages) and the storages, each its number of elements (int64) and the elements.
 *
 * Source: `_legacy_save` and `_legacy_load` of torch.serialization (2.13).
 * @throws FileError if it is cut short, big-endian or of another version.
 */
export function readLegacyCheckpoint(
  path: string,
  data: Buffer,
  hint: string,
): { readonly content: unknown; storage(key: string): Uint8Array | undefined } {
  let at = 0;
  const sizes = new Map<string, number>();
  const options = checkpointPickle(data.length);
  const next = (): unknown => {
    const { value, length } = readFirstPickle(path, data.subarray(at), {
      ...options,
      persistent: (id) => {
        const made = options.persistent!(id);
        if (made instanceof Storage) sizes.set(made.of.key, made.of.elementBytes);
        return made;
      },
    });
    at += length;
    return value;
  };
  next(); // the magic number
  const version = next();
  if (version !== PROTOCOL) throw new FileError(path, `is of format ${String(version)}, wanted ${PROTOCOL}`, hint);
  const machine = next();
  if (machine instanceof Map && machine.get('little_endian') === false)
    throw new FileError(path, 'its numbers are big-endian, wanted little-endian', 'save it on another machine');
  const content = next();
  const keys = next();
  if (!Array.isArray(keys)) throw new FileError(path, 'does not list its storages', hint);
  const storages = new Map<string, Uint8Array>();
  for (const key of keys as unknown[]) {
    const elementBytes = sizes.get(String(key));
    const numel = at + 8 <= data.length ? Number(data.readBigInt64LE(at)) : -1;
    const bytes = numel * (elementBytes ?? Number.NaN);
    if (!(numel >= 0 && at + 8 + bytes <= data.length))
      throw new FileError(
        path,
        elementBytes === undefined
          ? `lists storage ${String(key)}, which nothing in it uses`
          : `is cut short: storage ${String(key)} at byte ${at}`,
        'copy it again',
      );
    storages.set(String(key), data.subarray(at + 8, at + 8 + bytes));
    at += 8 + bytes;
  }
  return { content, storage: (key) => storages.get(key) };
}
