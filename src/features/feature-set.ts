import { existsSync } from 'node:fs';
import { type IdList, readIds } from '../artifacts/id-list.ts';
import { FileError, UserError } from '../base/errors.ts';
import { fromHalf } from '../base/half.ts';
import type { ClassKeys } from '../data/class-keys.ts';
import { classesPath, readClassKeys, trainedClassesPath } from './class-key-file.ts';
import { type FeaturesInfo, featureFiles, featureSetArtifact, preprocessingText } from './feature-set-artifact.ts';
import { missingPositions } from './missing-rows.ts';
import { NpyFile, type NpyType } from './npy.ts';

/** Names of the stored types in .npy. */
export const npyTypes = { float32: '<f4', float16: '<f2' } as const;
export type FeatureDtype = keyof typeof npyTypes;

const AGAIN = featureSetArtifact.again;
/** They fit the processor's cache. */
const LABELS_AT_A_TIME = 1 << 14;

/** Opens one array of a set. @throws FileError if it is missing, cut short, or not what the manifest says. */
function openArray<T extends NpyType>(path: string, type: T, wanted: readonly number[]): NpyFile<T> {
  const file = new NpyFile(path, [type]);
  if (String(file.shape) === String(wanted)) return file;
  file.close();
  throw new FileError(path, `has shape [${file.shape.join(', ')}], the manifest says [${wanted.join(', ')}]`, AGAIN);
}

/**
 * Embeddings of a dataset in dataset order: a folder with `features.npy` ([N, D], float32 or float16, as the backbone made
 * them, not normalised), `labels.npy` (int64 [N]), `families.npy` (int32 [N], -1 unknown) and a manifest. NumPy reads all three.
 * A row whose image has no embedding is zeros and listed in the manifest as `missing`: nothing may take it for one.
 * Rows are read where they are wanted: memory does not grow with N, and processes share the system's one copy of the file.
 */
export class FeatureSet implements Disposable {
  readonly path: string;
  readonly info: FeaturesInfo;
  readonly #file: NpyFile<'<f2' | '<f4'>;
  readonly #missing: ReadonlySet<number>;
  #block = new Float32Array(0);
  #all: Float32Array | undefined;
  #labels: Int32Array | undefined;
  #families: Int32Array | undefined;
  #ids: IdList | null | undefined;

  private constructor(path: string, info: FeaturesInfo, file: NpyFile<'<f2' | '<f4'>) {
    this.path = path;
    this.info = info;
    this.#file = file;
    this.#missing = missingPositions(path, info.missing, info.count);
  }

  /**
   * @throws FileError if `path` is no finished feature set, its files do not agree, or one is not the file of that digest,
   * which is looked at once for each process: MIXBCT_VERIFY_GB says up to which size, `verify: false` not at all.
   */
  static open(path: string, { verify = true }: { readonly verify?: boolean } = {}): FeatureSet {
    const info = featureSetArtifact.open(path);
    const at = featureFiles(path);
    openArray(at.labels, '<i8', [info.count]).close();
    openArray(at.families, '<i4', [info.count]).close();
    const file = openArray(at.features, npyTypes[info.dtype], [info.count, info.dim]);
    try {
      if (verify) featureSetArtifact.verify(path, info);
      return new FeatureSet(path, info, file);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  get digest(): string {
    return this.info.digest;
  }

  /** Positions of the rows that have no embedding: zeros, which all that reads the set leaves out. */
  missing(): ReadonlySet<number> {
    return this.#missing;
  }

  /** Embeddings at positions, flat [K · D], in `into` if it is given; read from disk each time. */
  rows(indices: ArrayLike<number>, into?: Float32Array): Float32Array {
    return this.#numbers((target) => this.#file.gather(indices, target), into);
  }

  /** Embeddings `from` … `from + count - 1`, flat [count · D]; the next call uses their memory again. */
  block(from: number, count: number): Float32Array {
    if (this.#block.length < count * this.info.dim) this.#block = new Float32Array(count * this.info.dim);
    const into = this.#block.subarray(0, count * this.info.dim);
    return this.#numbers((target) => this.#file.read(from, count, target), into);
  }

  /** What is read, as numbers in `into`: at once if they are stored as such. */
  #numbers(read: (target?: Float32Array) => Float32Array | Uint16Array, into?: Float32Array): Float32Array {
    const found = read(this.info.dtype === 'float32' ? into : undefined);
    return found instanceof Uint16Array ? fromHalf(found, into) : found;
  }

  /** Where the embeddings are in the open file; null if they are float16. */
  file(): { readonly fd: number; readonly start: number } | null {
    return this.info.dtype === 'float32' ? this.#file.place() : null;
  }

  /** All embeddings, flat [N · D]. Read once; like labels and families, not for the caller to change. */
  all(): Float32Array {
    this.#all ??= this.#numbers(() => this.#file.all());
    return this.#all;
  }

  /** Class ids [N]. @throws FileError if one is not in 0 … C-1. */
  labels(): Int32Array {
    this.#labels ??= this.#readLabels();
    return this.#labels;
  }

  /** The same a few at a time, each good until the next. @throws FileError if one is not in 0 … C-1. */
  *labelBlocks(): Generator<Int32Array> {
    if (this.#labels) return yield this.#labels;
    const { count, classes } = this.info;
    using file = openArray(featureFiles(this.path).labels, '<i8', [count]);
    const block = new BigInt64Array(Math.min(count, LABELS_AT_A_TIME));
    // as halves of 32 bits, the lower first: millions of BigInts take their time
    const halves = new Int32Array(block.buffer);
    const labels = new Int32Array(block.length);
    for (let from = 0; from < count; from += block.length) {
      const rows = Math.min(block.length, count - from);
      file.read(from, rows, block.subarray(0, rows));
      for (let i = 0; i < rows; i++) {
        const label = halves[2 * i]!;
        if (halves[2 * i + 1] !== 0 || label < 0 || label >= classes)
          throw new FileError(file.path, `entry ${from + i} is ${block[i]}, wanted 0 … ${classes - 1}`, AGAIN);
        labels[i] = label;
      }
      yield labels.subarray(0, rows);
    }
  }

  /** Family ids [N], -1 where unknown. */
  families(): Int32Array {
    if (!this.#families) {
      using file = openArray(featureFiles(this.path).families, '<i4', [this.info.count]);
      this.#families = file.all();
    }
    return this.#families;
  }

  /** `families` are from now on those of another set of the same images, which knows more of them. */
  takeFamilies(other: FeatureSet): void {
    this.#families = other.families();
  }

  /** What the image of a row is called; null if that is not known. */
  id(row: number): string | null {
    this.#ids ??= existsSync(featureFiles(this.path).ids)
      ? readIds(featureFiles(this.path).ids, this.info.count)
      : null;
    return this.#ids?.at(row) ?? null;
  }

  /** What messages call a row: "row 17 (anna/3.jpg)". */
  name(row: number): string {
    const id = this.id(row);
    return `row ${row}${id === null ? '' : ` (${id})`}`;
  }

  /** The ids that its classes had before they were numbered 0 … C-1; null if they had these. [C] */
  classIds(): BigInt64Array | null {
    const { classIds } = featureFiles(this.path);
    if (!existsSync(classIds)) return null;
    using file = openArray(classIds, '<i8', [this.info.classes]);
    return file.all();
  }

  /** What tells the classes of its dataset from those of others; null if that is not known. */
  classKeys(): ClassKeys | null {
    return readClassKeys(classesPath(this.path));
  }

  /** The same of the classes that its model was trained on. */
  trainedClassKeys(): ClassKeys | null {
    return readClassKeys(trainedClassesPath(this.path));
  }

  #readLabels(): Int32Array {
    const result = new Int32Array(this.info.count);
    let from = 0;
    for (const labels of this.labelBlocks()) {
      result.set(labels, from);
      from += labels.length;
    }
    return result;
  }

  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Requires the same alignment, and the same divisor of models that declare no mapping. Mean, standard deviation, channel order
 * and resize rule that a model declares are part of it, like its side, and may differ from those of another model.
 * @throws UserError if the models of two sets saw pictures that were made ready in different ways
 */
export function requireSamePreprocessing(a: FeatureSet, b: FeatureSet): void {
  const [x, y] = [a.info.preprocessing, b.info.preprocessing];
  const sameDivisor = x.pixels || y.pixels || x.pixelDivisor === y.pixelDivisor;
  const [one, other] = [preprocessingText(x), preprocessingText(y)];
  if (x.alignment !== y.alignment || !sameDivisor)
    throw new UserError(`${a.path} (${one}) and ${b.path} (${other}) come from pictures made ready in different ways`, {
      hint: 'extract both in the same way',
    });
}
