import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type ArtifactOptions, digestOf, fileDigest, writeArtifact } from '../base/artifact.ts';
import { FileError, UserError } from '../base/errors.ts';
import { type IdList, readIds, writeIds } from '../base/id-list.ts';
import { say } from '../base/progress.ts';
import { version } from '../base/version.ts';
import { PIXEL_DIVISOR } from '../data/collate.ts';
import { datasetReference, readManifest } from './artifact.ts';
import { type ClassKeys, classesPath, readClassKeys, trainedClassesPath, writeClassKeys } from './class-keys.ts';
import { fromHalf, LARGEST_HALF, toHalf } from './half.ts';
import { type MissingRow, missingPositions, missingSchema } from './missing.ts';
import { NpyFile, type NpyType, NpyWriter, rowsWritten, writeNpy } from './npy.ts';

/** What was done to pictures before the model saw them. */
const preprocessingSchema = z.object({
  alignment: z.enum(['none', 'five-points']),
  /** What pixels less 127.5 were divided by. */
  pixelDivisor: z.number().positive(),
});
export type Preprocessing = z.infer<typeof preprocessingSchema>;
const PLAIN: Preprocessing = { alignment: 'none', pixelDivisor: PIXEL_DIVISOR.train };

const featuresSchema = z.object({
  kind: z.literal('features'),
  version: z.literal(1),
  /** D, N, C */
  dim: z.int().positive(),
  count: z.int().nonnegative(),
  classes: z.int().positive(),
  /** The model that made them; null if they came from outside. */
  model: z
    .object({
      name: z.string(),
      digest: z.string(),
      preset: z.string().default('default'),
      differences: z.array(z.string()).default([]),
      /** What it was trained on; null if that is not known. */
      trainedOn: datasetReference.nullable().default(null),
    })
    .nullable(),
  dataset: datasetReference.nullable(),
  /** `mean`: of each image and its mirror; `random`: of one of both. */
  flip: z.enum(['none', 'mean', 'random']),
  preprocessing: preprocessingSchema.default(PLAIN),
  /** How features.npy stores them. */
  dtype: z.enum(['float32', 'float16']).default('float32'),
  /** What the model computed in. */
  precision: z.enum(['float32', 'bf16', 'fp16']).default('float32'),
  /** Rows that have no embedding, ascending. */
  missing: missingSchema,
  /** Digest of features.npy. */
  digest: z.string(),
  mixbct: z.string(),
});
export type FeaturesInfo = z.infer<typeof featuresSchema>;

const files = (path: string) => ({
  features: join(path, 'features.npy'),
  labels: join(path, 'labels.npy'),
  families: join(path, 'families.npy'),
  /** Only where ids are known. */
  ids: join(path, 'ids.jsonl'),
  /** Only where classes were numbered. */
  classIds: join(path, 'class-ids.npy'),
});

/** How a stored type is named in .npy. */
const stored = { float32: '<f4', float16: '<f2' } as const;
type Stored = keyof typeof stored;
/** Of a number of features, and of a row's label and family. */
const [BYTES, LABEL_BYTES] = [{ float32: 4, float16: 2 }, 12] as const;

/** Numbers of features as they are on disk. */
export const numbersOf = (rows: Float32Array | Uint16Array): Float32Array =>
  rows instanceof Uint16Array ? fromHalf(rows) : rows;

const AGAIN = 'make the feature set again';

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

  /** @throws FileError if `path` is no finished feature set or its files do not agree. */
  static open(path: string): FeatureSet {
    const info = readManifest(path, featuresSchema, { what: 'a feature set', command: 'mixbct extract' });
    const at = files(path);
    openArray(at.labels, '<i8', [info.count]).close();
    openArray(at.families, '<i4', [info.count]).close();
    return new FeatureSet(path, info, openArray(at.features, stored[info.dtype], [info.count, info.dim]));
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

  /** All embeddings, flat [N · D]. Read once; like labels and families, not for the caller to change. */
  all(): Float32Array {
    this.#all ??= numbersOf(this.#file.all());
    return this.#all;
  }

  /** Class ids [N]. @throws FileError if one is not in 0 … C-1. */
  labels(): Int32Array {
    this.#labels ??= this.#readLabels();
    return this.#labels;
  }

  /** Family ids [N], -1 where unknown. */
  families(): Int32Array {
    if (!this.#families) {
      using file = openArray(files(this.path).families, '<i4', [this.info.count]);
      this.#families = file.all();
    }
    return this.#families;
  }

  /** What the image of a row is called; null if that is not known. */
  id(row: number): string | null {
    this.#ids ??= existsSync(files(this.path).ids) ? readIds(files(this.path).ids, this.info.count) : null;
    return this.#ids?.at(row) ?? null;
  }

  /** What messages call a row: "row 17 (anna/3.jpg)". */
  name(row: number): string {
    const id = this.id(row);
    return `row ${row}${id === null ? '' : ` (${id})`}`;
  }

  /** The ids that its classes had before they were numbered 0 … C-1; null if they had these. [C] */
  classIds(): BigInt64Array | null {
    const { classIds } = files(this.path);
    if (!existsSync(classIds)) return null;
    using file = openArray(classIds, '<i8', [this.info.classes]);
    return file.all();
  }

  /** What tells the classes of its dataset from those of others; null if that is not known. */
  classKeys(): ClassKeys | null {
    return this.info.dataset && readClassKeys(classesPath(this.path), this.info.dataset.classes);
  }

  /** The same of the classes that its model was trained on. */
  trainedClassKeys(): ClassKeys | null {
    const trainedOn = this.info.model?.trainedOn;
    return trainedOn ? readClassKeys(trainedClassesPath(this.path), trainedOn.classes) : null;
  }

  #readLabels(): Int32Array {
    const { count, classes } = this.info;
    using file = openArray(files(this.path).labels, '<i8', [count]);
    const labels = file.all();
    // as halves of 32 bits, the lower first: millions of BigInts take their time
    const halves = new Int32Array(labels.buffer, labels.byteOffset, 2 * count);
    const result = new Int32Array(count);
    for (let i = 0; i < count; i++) {
      const label = halves[2 * i]!;
      if (halves[2 * i + 1] !== 0 || label < 0 || label >= classes)
        throw new FileError(file.path, `entry ${i} is ${labels[i]}, wanted 0 … ${classes - 1}`, AGAIN);
      result[i] = label;
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

/** @throws UserError if the models of two sets saw pictures that were made ready in different ways. */
export function requireSamePreprocessing(a: FeatureSet, b: FeatureSet): void {
  const text = ({ alignment, pixelDivisor }: Preprocessing): string =>
    `alignment ${alignment}, pixels divided by ${pixelDivisor}`;
  const [one, other] = [text(a.info.preprocessing), text(b.info.preprocessing)];
  if (one !== other)
    throw new UserError(`${a.path} (${one}) and ${b.path} (${other}) come from pictures made ready in different ways`, {
      hint: 'extract both in the same way',
    });
}

export type FeatureSetContent = Pick<FeaturesInfo, 'dim' | 'classes' | 'model' | 'dataset' | 'flip'> & {
  readonly preprocessing?: Preprocessing;
  readonly labels: Int32Array;
  readonly families: Int32Array;
  readonly classKeys?: ClassKeys | null;
  readonly trainedClassKeys?: ClassKeys | null;
  /** The ids that classes had before they were numbered 0 … C-1; null if they had these. [C] */
  readonly classIds?: BigInt64Array | null;
  /** What each row's image is called; null if that is not known. */
  readonly id?: ((row: number) => string) | null;
  readonly dtype?: Stored;
  readonly precision?: FeaturesInfo['precision'];
};

/** @throws UserError if a number is too large for float16. */
function halfOf(rows: Float32Array, nameOf: (i: number) => string): Uint16Array {
  const half = toHalf(rows);
  const over = fromHalf(half).findIndex((value) => !Number.isFinite(value));
  if (over >= 0)
    throw new UserError(`${nameOf(over)}: ${rows[over]} is beyond float16, which ends at ${LARGEST_HALF}`, {
      hint: 'store these features as float32',
    });
  return half;
}

function* idsOf(id: (row: number) => string, count: number): Iterable<string> {
  for (let row = 0; row < count; row++) yield id(row);
}

/** Position of the first value that is NaN or infinite, or -1. */
export function firstNonFinite(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return i;
  return -1;
}

export type FeatureSetOptions = Pick<ArtifactOptions, 'force' | 'inputs' | 'lock'> & {
  /**
   * Rows written by an attempt that failed or was killed are kept for the next one with the same `identity`, as many as are a
   * multiple of `step`: what was made in steps is then made in the same ones.
   */
  readonly resume?: {
    readonly identity: string;
    readonly step: number;
    /** How many of the rows in the attempt's folder may be kept; all if it is not given. */
    readonly valid?: (directory: string) => number;
  };
};

/** What `fill` is given: where rows go, which of them are there already, and a folder for what an attempt must remember. */
export type Filling = {
  readonly append: (rows: Float32Array) => void;
  /** Tells which of all rows have no embedding, ascending; they were appended as zeros. */
  readonly markMissing: (rows: readonly MissingRow[]) => void;
  readonly from: number;
  readonly directory: string;
};

/**
 * Writes a feature set; `fill` appends whole rows in dataset order, from row `from` on. Nothing is left if it throws, unless
 * `resume` is given and there are rows.
 * @throws UserError if something stands at `path` and `force` is not set, or an embedding is not finite: distances and
 * means would be NaN without a word.
 */
export function writeFeatureSet(
  path: string,
  {
    labels,
    families,
    classKeys = null,
    trainedClassKeys = null,
    classIds = null,
    id = null,
    dtype = 'float32',
    precision = 'float32',
    ...info
  }: FeatureSetContent,
  { resume, ...options }: FeatureSetOptions,
  fill: (filling: Filling) => Promise<void> | void,
): Promise<FeaturesInfo> {
  const rowsIn = (directory: string): number => rowsWritten(files(directory).features, stored[dtype], [info.dim]);
  const keep = resume && { key: digestOf(resume.identity), worth: (directory: string) => rowsIn(directory) > 0 };
  const bytes = labels.length * (info.dim * BYTES[dtype] + LABEL_BYTES);
  const how = { kind: 'features', ...options, bytes, ...(keep && { resume: keep }) };
  return writeArtifact(path, how, async (directory) => {
    const target = files(directory);
    const valid = resume?.valid?.(directory) ?? labels.length;
    const there = resume ? Math.min(rowsIn(directory), labels.length, valid) : 0;
    const from = resume ? there - (there % resume.step) : 0;
    if (from > 0) say(`${path}: goes on from row ${from} of ${labels.length}`);
    const writer = new NpyWriter<'<f2' | '<f4'>(target.features, stored[dtype], [info.dim], { rows: from });
    let rows = from;
    const nameOf = (row: number): string => `embedding ${row}${id ? ` (${id(row)})` : ''}`;
    const append = (chunk: Float32Array): void => {
      const bad = firstNonFinite(chunk);
      if (bad >= 0)
        throw new UserError(`${path}: ${nameOf(rows + Math.floor(bad / info.dim))} holds ${chunk[bad]}`, {
          hint: 'the model that made it has diverged: train it again with a lower learning rate',
        });
      writer.append(
        dtype === 'float16' ? halfOf(chunk, (i) => `${path}: ${nameOf(rows + Math.floor(i / info.dim))}`) : chunk,
      );
      rows += chunk.length / info.dim;
    };
    let missing: readonly MissingRow[] = [];
    try {
      await fill({
        append,
        from,
        directory,
        markMissing: (marked) => {
          missing = marked;
        },
      });
    } catch (error) {
      if (resume && rows > 0) say(`${path}: ${rows} rows are kept, the same command goes on from there`);
      throw error;
    } finally {
      writer.close();
    }
    if (rows !== labels.length || rows !== families.length)
      throw new Error(`${path}: ${rows} embeddings, ${labels.length} labels, ${families.length} families`);
    writeNpy(target.labels, '<i8', BigInt64Array.from(labels, BigInt));
    writeNpy(target.families, '<i4', families);
    if (classIds) writeNpy(target.classIds, '<i8', classIds);
    if (id) writeIds(target.ids, idsOf(id, rows));
    if (classKeys) writeClassKeys(classesPath(directory), classKeys);
    if (trainedClassKeys) writeClassKeys(trainedClassesPath(directory), trainedClassKeys);
    return {
      kind: 'features' as const,
      version: 1 as const,
      ...info,
      preprocessing: info.preprocessing ?? PLAIN,
      dtype,
      precision,
      count: rows,
      missing: [...missing],
      digest: fileDigest(target.features),
      mixbct: version,
    };
  });
}
