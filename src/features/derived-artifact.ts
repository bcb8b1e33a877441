import { join } from 'node:path';
import { z } from 'zod';
import { digestMismatch, isDigestChecked } from '../artifacts/cached-digest.ts';
import { checkedBySchema, defineArtifact, type Manifest } from '../artifacts/define-artifact.ts';
import type { About } from '../artifacts/description.ts';
import { digestOf, RunningDigest } from '../artifacts/digest.ts';
import { bytesOf } from '../base/bytes-of.ts';
import { FileError } from '../base/errors.ts';
import { datasetReference } from '../data/dataset-reference.ts';
import type { FeatureSet } from './feature-set.ts';
import { modelAndData } from './feature-set-artifact.ts';
import { type NpyArray, type NpyPieces, type NpyType, piecesOf, readNpy, writeNpy } from './npy.ts';

/** Fields of the manifest of everything that is derived from a feature set. */
const derivedFields = {
  /** Rows of the feature set. */
  count: z.int(),
  dataset: datasetReference.nullable(),
  /** `labelsDigest` of the feature set, if that names no dataset; 0.3.0 did not record it. */
  labels: z.string().optional(),
  /** Digest of the features. */
  features: z.string(),
  /** The model that made the features; null if they came from outside, absent if that is not known. */
  model: z.object({ name: z.string(), digest: z.string() }).nullable().optional(),
  /** Digest of the arrays. */
  digest: z.string(),
};
const derivedSchema = z.object(derivedFields);
type DerivedFields = z.infer<typeof derivedSchema>;

/** An array of a derived artefact, in a file of its own; `shape` as the manifest tells it. */
type ArrayFile<M> = { readonly file: string; readonly type: NpyType; readonly shape: (fields: M) => readonly number[] };
type Arrays<A> = {
  readonly [K in keyof A]: A[K] extends { readonly type: infer T extends NpyType } ? NpyArray<T> : never;
};

/** Arrays as they are made: whole or in pieces. */
type Made<A> = {
  readonly [K in keyof A]: A[K] extends { readonly type: infer T extends NpyType } ? NpyPieces<T> : never;
};

/** Hands out an array's pieces, and adds them to a digest as one part. */
function* digested(array: NpyPieces, digest: RunningDigest): Generator<NpyArray> {
  for (const piece of piecesOf(array)) {
    digest.update(bytesOf(piece));
    yield piece;
  }
  digest.endPart();
}

/** Digest of the classes of rows, in their order; `blocks` [N] in pieces. */
export function labelsDigest(blocks: Iterable<Int32Array>): string {
  const digest = new RunningDigest();
  for (const labels of blocks) digest.update(bytesOf(labels));
  return digest.endPart().end();
}

/**
 * Defines a kind of artefact that is derived from a feature set: a few arrays, and a manifest that says from which features.
 * `fields` are those of its own in the manifest.
 */
export function defineDerivedArtifact<
  S extends z.ZodRawShape,
  const A extends Readonly<Record<string, ArrayFile<DerivedFields & z.infer<z.ZodObject<S>>>>>,
>({
  fields,
  arrays,
  facts,
  ...about
}: {
  readonly kind: string;
  readonly name: string;
  readonly command: string;
  readonly facts: (fields: DerivedFields & z.infer<z.ZodObject<S>>) => About['facts'];
  readonly fields: S;
  readonly arrays: A;
}) {
  type Own = z.infer<z.ZodObject<S>>;
  type Info = Manifest<DerivedFields & Own>;
  const schema = z.object({ ...derivedFields, ...fields }) as unknown as z.ZodType<DerivedFields & Own>;
  const artifact = defineArtifact<DerivedFields & Own>({
    ...about,
    check: checkedBySchema(schema),
    describe: (info) => ({
      facts: facts(info),
      sources: [{ kind: 'features', digest: info.features, sources: modelAndData(info) }],
    }),
  });
  const each = Object.entries(arrays) as [keyof A & string, A[keyof A]][];

  /** @throws FileError if the file holds an array of another shape than the manifest tells. */
  function read(path: string, { file, type, shape }: A[keyof A], info: Info): NpyArray<NpyType> {
    const at = join(path, file);
    const found = readNpy(at, [type]);
    const wanted = shape(info);
    if (String(found.shape) === String(wanted)) return found.data;
    throw new FileError(at, `has shape [${found.shape.join(', ')}], wanted [${wanted.join(', ')}]`, artifact.again);
  }

  return Object.assign(artifact, {
    /** Manifest and arrays. @throws FileError if `path` is none of this kind, or the arrays are not those that were written. */
    openArrays(path: string): { readonly info: Info; readonly digest: string } & Arrays<A> {
      const info = artifact.open(path);
      const found = each.map(([name, array]) => [name, read(path, array, info)] as const);
      const views = found.map(([, array]) => array);
      if (isDigestChecked(views.reduce((bytes, { byteLength }) => bytes + byteLength, 0))) {
        const digest = digestOf(...views.map(bytesOf));
        if (digest !== info.digest) throw digestMismatch(path, digest, info.digest, artifact.again);
      }
      return { info, digest: info.digest, ...(Object.fromEntries(found) as Arrays<A>) };
    },

    /** Makes one of a feature set: `make` computes its arrays, and the fields of its own. */
    derive(
      path: string,
      source: FeatureSet,
      { force = false }: { readonly force?: boolean },
      make: () => { readonly arrays: Made<A>; readonly fields: Own },
    ): Promise<Info> {
      return artifact.write(path, { force, inputs: [source.path] }, (directory) => {
        const { arrays: made, fields: own } = make();
        const { count, dataset, model } = source.info;
        const info = {
          count,
          dataset,
          ...(dataset === null && { labels: labelsDigest(source.labelBlocks()) }),
          features: source.digest,
          model: model && { name: model.name, digest: model.digest },
          digest: '', // of what is written below
          ...own,
        };
        const digest = new RunningDigest();
        for (const [name, { file, type, shape }] of each)
          writeNpy(join(directory, file), type, digested(made[name] as NpyPieces, digest), shape(info).slice(1));
        return { ...info, digest: digest.end() };
      });
    },
  });
}
