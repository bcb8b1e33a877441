import { join } from 'node:path';
import { z } from 'zod';
import { fileDigest, writeArtifact } from '../base/artifact.ts';
import { FileError } from '../base/errors.ts';
import { version } from '../base/version.ts';
import { datasetReference, readManifest } from './artifact.ts';
import { NpyFile, NpyWriter, readNpy, writeNpy } from './npy.ts';

const featuresSchema = z.object({
  kind: z.literal('features'),
  version: z.literal(1),
  /** D, N, C */
  dim: z.int().positive(),
  count: z.int().nonnegative(),
  classes: z.int().positive(),
  /** The model that made them; null if they came from outside. */
  model: z.object({ name: z.string(), digest: z.string() }).nullable(),
  dataset: datasetReference.nullable(),
  /** `mean`: of each image and its mirror. */
  flip: z.enum(['none', 'mean']),
  /** Digest of features.npy. */
  digest: z.string(),
  mixbct: z.string(),
});
export type FeaturesInfo = z.infer<typeof featuresSchema>;

const files = (path: string) => ({
  features: join(path, 'features.npy'),
  labels: join(path, 'labels.npy'),
  families: join(path, 'families.npy'),
});

/**
 * Embeddings of a dataset in dataset order: a folder with `features.npy` (float32 [N, D], as the backbone made them, not
 * normalised), `labels.npy` (int64 [N]), `families.npy` (int32 [N], -1 unknown) and a manifest. NumPy reads all three.
 */
export class FeatureSet implements Disposable {
  readonly path: string;
  readonly info: FeaturesInfo;
  readonly #file: NpyFile<'<f4'>;

  private constructor(path: string, info: FeaturesInfo, file: NpyFile<'<f4'>) {
    this.path = path;
    this.info = info;
    this.#file = file;
  }

  /** @throws FileError if `path` is no finished feature set or its files do not agree. */
  static open(path: string): FeatureSet {
    const info = readManifest(path, featuresSchema, { what: 'a feature set', command: 'mixbct extract' });
    const file = new NpyFile(files(path).features, ['<f4']);
    if (String(file.shape) !== String([info.count, info.dim])) {
      file.close();
      throw new FileError(
        file.path,
        `has shape [${file.shape.join(', ')}], the manifest says [${info.count}, ${info.dim}]`,
        'make the feature set again',
      );
    }
    return new FeatureSet(path, info, file);
  }

  get digest(): string {
    return this.info.digest;
  }

  /** Embeddings at positions, flat [K · D]. */
  rows(indices: ArrayLike<number>): Float32Array {
    return this.#file.gather(indices);
  }

  /** All embeddings, flat [N · D]. */
  all(): Float32Array {
    return this.#file.all();
  }

  /** Class ids [N]. */
  labels(): Int32Array {
    return Int32Array.from(this.#column(files(this.path).labels, '<i8'), Number);
  }

  /** Family ids [N], -1 where unknown. */
  families(): Int32Array {
    return this.#column(files(this.path).families, '<i4');
  }

  #column<T extends '<i8' | '<i4'>(path: string, type: T) {
    const { data, shape } = readNpy(path, [type]);
    if (String(shape) !== String([this.info.count]))
      throw new FileError(
        path,
        `has shape [${shape.join(', ')}], wanted [${this.info.count}]`,
        'make the feature set again',
      );
    return data;
  }

  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export type FeatureSetContent = Pick<FeaturesInfo, 'dim' | 'classes' | 'model' | 'dataset' | 'flip'> & {
  readonly labels: Int32Array;
  readonly families: Int32Array;
};

/** Writes a feature set; `fill` appends rows in dataset order. Nothing is left if it throws. */
export function writeFeatureSet(
  path: string,
  { labels, families, ...info }: FeatureSetContent,
  { force = false }: { readonly force?: boolean },
  fill: (append: (rows: Float32Array) => void) => Promise<void> | void,
): Promise<FeaturesInfo> {
  return writeArtifact(path, { force }, async (directory) => {
    const target = files(directory);
    const writer = new NpyWriter(target.features, '<f4', [info.dim]);
    let rows = 0;
    try {
      await fill((chunk) => {
        rows += chunk.length / info.dim;
        writer.append(chunk);
      });
    } finally {
      writer.close();
    }
    if (rows !== labels.length) throw new Error(`${path}: ${rows} embeddings for ${labels.length} labels`);
    writeNpy(target.labels, '<i8', BigInt64Array.from(labels, BigInt));
    writeNpy(target.families, '<i4', families);
    return {
      kind: 'features' as const,
      version: 1 as const,
      ...info,
      count: rows,
      digest: fileDigest(target.features),
      mixbct: version,
    };
  });
}
