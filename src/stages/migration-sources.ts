import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Adapter } from '../adapt/index.ts';
import { optionHint, UserError } from '../base/errors.ts';
import { positionsIn } from '../base/large-map.ts';
import { readRegularFile } from '../base/regular-file.ts';
import { mirrorInto } from '../data/augment.ts';
import { decodeBatch } from '../data/batch-decoder.ts';
import type { Encoder } from '../encoders/index.ts';
import { FeatureSet } from '../features/index.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import type { GalleryRow } from '../stores/gallery-store.ts';
import type { MigrationRecord, MigrationSource } from '../stores/migration-record.ts';
import type { VectorSource } from '../stores/run-migration.ts';
import type { Stamp } from '../stores/stamp.ts';
import { stampText } from '../stores/stamp-text.ts';
import { stampOfEncoder, stampOfFeatures } from './gallery-stamps.ts';

/** Where new vectors come from: one of `features`, `adapter` and `model`. */
export type MigrationSourceOptions = {
  /** A feature set of the new model, whose ids are those of the gallery. */
  readonly features?: string | undefined;
  /** An adapter for the gallery. */
  readonly adapter?: string | undefined;
  /** A finished run of the new model, which embeds the images. */
  readonly model?: string | undefined;
  /** Column with the paths or the bytes of the images; without one the id is the path. */
  readonly images?: string | undefined;
  /** Folder that paths begin in; default: the present one, or the one that the migration began with. */
  readonly folder?: string | undefined;
  readonly flip?: 'none' | 'mean' | undefined;
};

export type OpenedSource = VectorSource & Disposable & { readonly record: MigrationSource };

/** What is known of the gallery before its migration. */
type Gallery = { readonly url: string; readonly stamp: Stamp };

/** @throws UserError unless the options name one source, or if it is not for such a gallery */
export async function openSource(options: MigrationSourceOptions, gallery: Gallery): Promise<OpenedSource> {
  const { features, adapter, model } = options;
  if ([features, adapter, model].filter((given) => given !== undefined).length !== 1)
    throw new UserError('wanted one source of new vectors', {
      hint: optionHint('one of --features, --adapter and --model'),
    });
  const source = features !== undefined
    ? featureSource(features, gallery)
    : adapter !== undefined
      ? adapterSource(adapter, gallery)
      : await imageSource({ ...options, model: model! }, gallery); // biome-ignore format: short
  if (source.target.model.digest !== gallery.stamp.model.digest || source.target.adapter || gallery.stamp.adapter)
    return source;
  source[Symbol.dispose]();
  throw new UserError(`${gallery.url}: its vectors are of ${stampText(source.target)} already`);
}

/** The source that a migration began with. @throws UserError if it has changed since */
export async function reopenSource(record: MigrationSource, target: Stamp, gallery: Gallery): Promise<OpenedSource> {
  const { kind, path, digest } = record;
  const images = kind === 'images' ? { model: path, images: record.column ?? undefined, folder: record.folder ?? undefined, flip: target.flip === 'mean' ? ('mean' as const) : ('none' as const) } : {}; // biome-ignore format: short
  const source = await openSource(kind === 'images' ? images : { [kind]: path }, gallery);
  if (source.record.digest === digest) return source;
  source[Symbol.dispose]();
  throw new UserError(`${path} is not what it was when the migration of ${gallery.url} began: its digest is ${source.record.digest}, it was ${digest}`, { hint: `restore it, or begin again with: mixbct migrate rollback '${gallery.url}'` }); // biome-ignore format: short
}

type MadeOf = Pick<MigrationRecord, 'source' | 'target'>;

/** Whether a source gives the very vectors that a migration began with. Where it lies does not matter. */
export const isSameSource = ({ record, target }: Pick<OpenedSource, 'record' | 'target'>, began: MadeOf): boolean =>
  target.dim === began.target.dim &&
  target.flip === began.target.flip &&
  isDeepStrictEqual({ ...record, path: '' }, { ...began.source, path: '' });

/** A source for a person. */
export function sourceText(record: MigrationSource, { flip }: Stamp): string {
  const { kind, path } = record;
  if (kind !== 'images') return `${path} (${kind})`;
  const { column, folder } = record;
  return `${path} (images of ${column === null ? 'ids' : `the column ${column}`}${folder === null ? '' : ` in ${folder}`}, flip ${flip ?? 'none'})`;
}

function featureSource(path: string, { stamp: { normalised } }: Gallery): OpenedSource {
  const set = FeatureSet.open(path);
  try {
    const target = stampOfFeatures(set, { normalised });
    if (set.info.count > 0 && set.id(0) === null)
      throw new UserError(`${path} has no ids, so none of its rows can be told from another`, {
        hint: 'extract it from a data set with ids, or import it with ids: mixbct import-features … --ids',
      });
    const rowOf = positionsIn(Array.from({ length: set.info.count }, (_, row) => set.id(row)!));
    const missing = set.missing();
    return {
      target,
      fields: [],
      record: { kind: 'features', path: resolve(path), digest: set.digest },
      vectors: async (rows) =>
        rows.map(({ key }) => {
          const row = rowOf.get(key);
          if (row === undefined) return `${path} has no row of this id`;
          return missing.has(row) ? `its row in ${path} has no embedding` : set.rows([row]);
        }),
      [Symbol.dispose]: () => set.close(),
    };
  } catch (error) {
    set.close();
    throw error;
  }
}

function adapterSource(path: string, { url, stamp }: Gallery): OpenedSource {
  const adapter = Adapter.open(path);
  try {
    const { from, to } = adapter.sides;
    if (adapter.info.direction !== 'gallery')
      throw new UserError(`${path} is an adapter for the query, which does not map a gallery`, {
        hint: 'fit one for it: mixbct adapt fit --direction gallery',
      });
    if (from.model?.digest !== stamp.model.digest || from.dim !== stamp.dim || stamp.adapter)
      throw new UserError(`${path} maps vectors of ${from.model ? `${from.model.name} (digest ${from.model.digest})` : 'a model that is not known'}, ${url} holds those of ${stampText(stamp)}`, { hint: 'fit an adapter between these models: mixbct adapt fit --direction gallery' }); // biome-ignore format: short
    if (!to.model)
      throw new UserError(`${path} does not say into the space of which model it maps, which a gallery needs`, {
        hint: 'fit it with features that mixbct extract has written',
      });
    return {
      target: {
        ...{ model: { name: to.model.name, digest: to.model.digest }, dim: to.dim, normalised: stamp.normalised },
        ...{ preprocessing: stamp.preprocessing, flip: stamp.flip, adapter: adapter.applied() },
      },
      fields: [],
      record: { kind: 'adapter', path: resolve(path), digest: adapter.info.digest },
      vectors: async (rows) => {
        const problems = rows.map(({ vector }) => oldVectorProblem(vector, from.dim));
        const flat = new Float32Array(rows.length * from.dim);
        for (const [i, { vector }] of rows.entries()) if (problems[i] === null) flat.set(vector!, i * from.dim);
        const mapped = adapter.map(flat, url);
        return problems.map((problem, i) => problem ?? mapped.slice(i * to.dim, (i + 1) * to.dim));
      },
      [Symbol.dispose]: () => adapter[Symbol.dispose](),
    };
  } catch (error) {
    adapter[Symbol.dispose]();
    throw error;
  }
}

/** Why an adapter cannot map a vector; null: it can. */
function oldVectorProblem(vector: Float32Array | null, dim: number): string | null {
  if (vector?.length !== dim) return `its old vector has ${vector?.length ?? 'no'} dimensions`;
  return vector.every(Number.isFinite) ? null : 'its old vector is not finite';
}

async function imageSource(
  { model, images: column, folder, flip = 'none' }: MigrationSourceOptions & { readonly model: string },
  { stamp }: Gallery,
): Promise<OpenedSource> {
  const base = resolve(folder ?? '.');
  const encoder = await openEncoder(model);
  const target = stampOfEncoder(encoder, { flip, normalised: stamp.normalised });
  return {
    target,
    fields: column === undefined ? [] : [column],
    record: {
      ...{ kind: 'images', path: resolve(model), digest: encoder.digest },
      ...{ column: column ?? null, folder: base },
    },
    vectors: (rows) => embedRows(encoder, flip, rows, (row) => imageOf(row, column, base)),
    [Symbol.dispose]: () => encoder[Symbol.dispose](),
  };
}

/** The encoded image of a row. @throws Error if there is none */
function imageOf({ key, fields }: GalleryRow, column: string | undefined, folder: string): Uint8Array {
  const value = column === undefined ? key : fields[column];
  if (value instanceof Uint8Array) return value;
  if (typeof value !== 'string' || value === '') throw new Error(`the column ${column} holds no path and no bytes`);
  return readRegularFile(resolve(folder, value));
}

/** Embeds the images of rows, or says what is wrong with them. */
async function embedRows(
  encoder: Encoder,
  flip: 'none' | 'mean',
  rows: readonly GalleryRow[],
  imageOf: (row: GalleryRow) => Uint8Array,
): Promise<(Float32Array | string)[]> {
  const { side, dim, resize } = encoder;
  const bytes = side * side * 3;
  const pixels = new Uint8Array(rows.length * bytes);
  const source = { encoded: (i: number) => imageOf(rows[i]!), close: () => undefined };
  const task = { indices: Int32Array.from(rows.keys()), side, resize, augment: null };
  const bad = new Map((await decodeBatch(source, task, pixels)).map(({ row, problem }) => [row, problem]));
  const embedded = await encoder.embed(pixels, rows.length);
  if (flip === 'mean') {
    const mirrored = new Uint8Array(pixels.length);
    for (let i = 0; i < rows.length; i++)
      mirrorInto(pixels.subarray(i * bytes, (i + 1) * bytes), mirrored, i * bytes, side);
    const other = await encoder.embed(mirrored, rows.length);
    for (const [i, value] of other.entries()) embedded[i] = (embedded[i]! + value) / 2;
  }
  return rows.map((_, i) => bad.get(i) ?? embedded.slice(i * dim, (i + 1) * dim));
}
