import { existsSync, fstatSync } from 'node:fs';
import { fileDigest } from '../artifacts/digest.ts';
import { FileError, UserError } from '../base/errors.ts';
import { bytesGlobals, MalformedPickle, PickleGlobal, readPickle } from '../base/pickle.ts';
import { formatCount } from '../base/progress.ts';
import { readFully, withRegularFile } from '../base/regular-file.ts';
import type { Dataset, ImageFile, PackSource } from './dataset.ts';
import { NO_FAMILY } from './sidecar.ts';

/** Pairs of pictures and whether they show the same: pair p is pictures 2p and 2p + 1. P pairs, 2P pictures. */
export type Pack = {
  readonly path: string;
  readonly digest: string;
  readonly images: readonly Uint8Array[];
  readonly same: readonly boolean[];
};

const MOST_BYTES = 2 ** 31 - 1;
const SHAPE = '(list of 2P encoded images, list of P booleans)';
const AS_PACK =
  'in Python: pickle.dump(([bytes(image) for image in images], [bool(label) for label in same]), file), each image the bytes of a JPEG or PNG file';

/**
 * Reads a verification pack: a pickle, by Python 2 or 3, of (2P encoded images, P booleans). Nothing in it is run.
 * @throws FileError if it holds anything else. Source: methods.md 2.11.
 */
export function readPack(path: string): Pack {
  const bytes = readShared(path);
  if (Buffer.from(bytes.subarray(0, 6)).toString('latin1') === '\x93NUMPY')
    throw new FileError(path, `is a NumPy array (.npy), wanted a verification pack: a pickle of ${SHAPE}`, AS_PACK);
  const value = readPickle(path, bytes, { globals: [...bytesGlobals(), ...numpyBooleans()], python2Strings: 'bytes' });
  const wrong = (problem: string): FileError =>
    new FileError(path, `is no verification pack: ${problem}`, `wanted ${SHAPE}`);
  if (!Array.isArray(value) || value.length !== 2) throw wrong('it is no pair of images and labels');
  const [images, labels] = value as [unknown, unknown];
  const same = labels instanceof Booleans ? labels.values : labels;
  if (!Array.isArray(images) || !Array.isArray(same)) throw wrong('images and labels are no lists');
  const bad = images.findIndex((image) => !(image instanceof Uint8Array) || image.length === 0);
  if (bad >= 0) throw wrong(`image ${bad} is ${images[bad] instanceof Uint8Array ? 'empty' : 'not made of bytes'}`);
  const odd = same.findIndex((label) => typeof label !== 'boolean');
  if (odd >= 0) throw wrong(`label ${odd} is no boolean`);
  if (same.length === 0 || images.length !== 2 * same.length)
    throw wrong(`${formatCount(images.length, 'image')} and ${formatCount(same.length, 'label')}`);
  return { path, digest: fileDigest(path), images, same };
}

/** A whole file in memory that threads share. */
function readShared(path: string): Uint8Array {
  if (!existsSync(path)) throw new FileError(path, 'no such file', 'wanted a verification pack, such as lfw.bin');
  return withRegularFile(path, (fd) => {
    const { size } = fstatSync(fd);
    if (size > MOST_BYTES) throw new FileError(path, `is larger than a verification pack may be (${MOST_BYTES} bytes)`);
    return readFully(fd, path, new Uint8Array(new SharedArrayBuffer(size)));
  });
}

/** An array of NumPy's booleans. */
class Booleans {
  values: boolean[] = [];
}
/** NumPy's type of booleans, the only one a pack may name. */
const BOOLEAN = Object.freeze({ dtype: 'b1' });

const textOf = (value: unknown): unknown =>
  value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value;

function booleansOf(type: unknown, bytes: unknown, count: unknown): boolean[] {
  if (type !== BOOLEAN) throw new MalformedPickle('wanted booleans of NumPy');
  if (!(bytes instanceof Uint8Array) || bytes.length !== count || bytes.some((byte) => byte > 1))
    throw new MalformedPickle('wanted one byte, 0 or 1, for each boolean of NumPy');
  return Array.from(bytes, (byte) => byte === 1);
}

/** How NumPy pickles booleans and one-dimensional arrays of them; its modules moved in version 2. */
function numpyBooleans(): readonly PickleGlobal[] {
  const array = new PickleGlobal('numpy.ndarray');
  const dtype = new PickleGlobal('numpy.dtype', ([name]) => {
    if (textOf(name) !== 'b1')
      throw new MalformedPickle(
        `a NumPy array of ${String(textOf(name)).slice(0, 20)}, wanted images as bytes and labels as booleans`,
        AS_PACK,
      );
    return BOOLEAN;
  });
  const scalar = ([type, byte]: readonly unknown[]): boolean => booleansOf(type, byte, 1)[0]!;
  const reconstruct = ([type]: readonly unknown[]): Booleans => {
    if (type !== array) throw new MalformedPickle('wanted an array of NumPy');
    return new Booleans();
  };
  const fill = (made: object, state: unknown): void => {
    const [, shape, type, , bytes] = Array.isArray(state) ? state : [];
    if (!(made instanceof Booleans) || !Array.isArray(shape) || shape.length !== 1)
      throw new MalformedPickle('wanted an array of one dimension');
    made.values = booleansOf(type, bytes, shape[0]);
  };
  const buffer = ([bytes, type, shape]: readonly unknown[]): Booleans => {
    const made = new Booleans();
    fill(made, [1, shape, type, false, bytes]);
    return made;
  };
  return [
    array,
    dtype,
    ...['numpy.core', 'numpy._core'].flatMap((core) => [
      new PickleGlobal(`${core}.multiarray.scalar`, scalar),
      new PickleGlobal(`${core}.multiarray._reconstruct`, reconstruct, fill),
      new PickleGlobal(`${core}.numeric._frombuffer`, buffer),
    ]),
  ];
}

export const openPackImages = ({ images }: PackSource): ImageFile => ({
  encoded: (i) => Uint8Array.from(images[i]!), // a copy: not every decoder takes shared memory
  place: (_, { height, width }) => {
    if (height !== width) throw new UserError(`is ${width} × ${height}, the pictures of a pack are square`);
    return null;
  },
  close: () => undefined,
});

/** The pictures of a pack as a dataset; a label is the number of the pair. */
export function packDataset({ path, digest, images, same }: Pack): Dataset {
  const labels = Int32Array.from(images, (_, i) => i >> 1);
  return {
    path,
    digest,
    size: images.length,
    classes: same.length,
    sidecar: {},
    labels: () => labels,
    families: () => new Int32Array(images.length).fill(NO_FAMILY),
    record: (i) => ({ labels: [labels[i]!], id: i, image: images[i]! }),
    id: String,
    hasOwnIds: false,
    name: (i) => `${path}: image ${i} (pair ${i >> 1})`,
    source: { kind: 'pack', images },
    close: () => undefined,
    [Symbol.dispose]: () => undefined,
  };
}
