import { optionHint, UserError } from '../base/errors.ts';
import { progressIfLong } from '../base/progress.ts';
import { openDataset } from '../data/open-dataset.ts';
import { unitEmbeddings } from '../eval/index.ts';
import { FeatureSet } from '../features/index.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import { createGallery } from '../stores/create-gallery.ts';
import type { GalleryCounts, GalleryDescription, GalleryState } from '../stores/gallery-store.ts';
import { type NewRow, TableExistsError } from '../stores/new-gallery.ts';
import { openStore } from '../stores/open-store.ts';
import type { Stamp } from '../stores/stamp.ts';
import { stampText } from '../stores/stamp-text.ts';
import { stampOfEncoder, stampOfFeatures } from './gallery-stamps.ts';

export type LoadGalleryOptions = {
  /** A feature set: its rows become those of the gallery, with length 1. */
  readonly features: string;
  readonly url: string;
  /** The data set that the features are of: its encoded images become a column. */
  readonly data?: string | undefined;
};

export type LoadedGallery = { readonly url: string; readonly rows: number; readonly stamp: Stamp };

/** Rows written at a time. */
const BLOCK = 4096;

/**
 * Creates a gallery of a feature set, stamped. Ids are those of the set; a set without ids gives its row numbers. Rows without
 * embedding are left out. `resume`: goes on with an attempt that was killed, so a table with these rows is taken for the one that it
 * made. @throws UserError if there is such a table, or the data set is not that of the features
 */
export async function loadGallery(
  { features, url, data }: LoadGalleryOptions,
  { resume = false } = {},
): Promise<LoadedGallery> {
  using set = FeatureSet.open(features);
  const stamp = stampOfFeatures(set, { normalised: true });
  using images = data === undefined ? null : openDataset(data);
  if (images && images.digest !== set.info.dataset?.digest)
    throw new UserError(`${features} has no features of ${data}`, { hint: optionHint('--data must name the data set that they were extracted from') }); // biome-ignore format: short
  const { count, dim } = set.info;
  const [labels, missing] = [set.labels(), set.missing()];
  const bar = progressIfLong('load', count);
  const blocks = function* (): Iterable<readonly NewRow[]> {
    for (let from = 0; from < count; from += BLOCK) {
      const size = Math.min(BLOCK, count - from);
      const unit = unitEmbeddings(set.block(from, size), dim, features).rows;
      const block: NewRow[] = [];
      for (let i = 0; i < size; i++) {
        const row = from + i;
        if (missing.has(row)) continue;
        const image = images ? images.record(row).image : null;
        block.push({ id: set.id(row) ?? String(row), vector: unit.slice(i * dim, (i + 1) * dim), label: labels[row]!, image }); // biome-ignore format: short
      }
      yield block;
      bar.update(from + size);
    }
  };
  const rows = count - missing.size;
  try {
    await createGallery(url, { dim, images: images !== null, blocks });
  } catch (error) {
    if (!(resume && error instanceof TableExistsError && (await isLoaded(url, rows, stamp)))) throw error;
  } finally {
    bar.stop();
  }
  await using store = await openStore(url);
  await store.stamp(stamp);
  return { url: store.url, rows, stamp };
}

/** Whether a table can be what was loaded: as many rows with vectors of as many dimensions, which no other model and no migration has. */
async function isLoaded(url: string, rows: number, { dim, model }: Stamp): Promise<boolean> {
  await using store = await openStore(url);
  const [counts, described, { stamp, migration }] = [await store.counts(), await store.describe(), await store.state()];
  const isOurs = migration === null && (stamp === null || stamp.model.digest === model.digest);
  return isOurs && counts.rows === rows && (described.dim ?? dim) === dim;
}

/** What the vectors of a gallery are of: those of a run, or those of a feature set. */
export type StampSource = {
  readonly model?: string | undefined;
  readonly features?: string | undefined;
  /** Of a run: whether each vector is the mean of an image and its mirror. */
  readonly flip?: 'none' | 'mean';
};

async function stampOf({ model, features, flip = 'none' }: StampSource, normalised: boolean): Promise<Stamp> {
  if ((model === undefined) === (features === undefined))
    throw new UserError('wanted one model that the vectors are of', { hint: optionHint('--model or --features') });
  if (features !== undefined) {
    using set = FeatureSet.open(features, { verify: false });
    return stampOfFeatures(set, { normalised });
  }
  using encoder = await openEncoder(model!);
  return stampOfEncoder(encoder, { flip, normalised });
}

/** Vectors that tell whether a gallery's have length 1, and how far from it rounding may take one. */
const [SAMPLE, LENGTH_TOLERANCE] = [1000, 1e-3];

/**
 * Writes into a gallery what its vectors are of. Whether they have length 1 is seen by a sample.
 * @throws UserError if they have other dimensions, or the gallery says another model and `force` is not set
 */
export async function stampGallery({
  url,
  force = false,
  ...source
}: StampSource & { readonly url: string; readonly force?: boolean }): Promise<Stamp> {
  await using store = await openStore(url);
  const lengths = (await store.page(null, SAMPLE))
    .map(({ vector }) => Math.hypot(...(vector ?? [])))
    .filter((length) => length > 0 && Number.isFinite(length)); // others are no embeddings
  const normalised = lengths.length > 0 && lengths.every((length) => Math.abs(length - 1) < LENGTH_TOLERANCE);
  const stamp = await stampOf(source, normalised);
  const { dim } = await store.describe();
  if (dim !== null && dim !== stamp.dim)
    throw new UserError(`${store.url}: its vectors have ${dim} dimensions, those of ${stampText(stamp)} do not`, { hint: 'name the model that they are of' }); // biome-ignore format: short
  const { stamp: before } = await store.state();
  if (before && before.model.digest !== stamp.model.digest && !force)
    throw new UserError(`${store.url}: says that its vectors are of ${stampText(before)}`, {
      hint: [
        `move them to another model with: mixbct migrate run '${store.url}'`,
        optionHint('--force corrects a wrong stamp'),
      ],
    });
  await store.stamp(stamp);
  return stamp;
}

export type GalleryInfo = GalleryDescription & GalleryState & GalleryCounts & { readonly url: string };

export async function describeGallery(url: string): Promise<GalleryInfo> {
  await using store = await openStore(url);
  const [description, state, counts] = [await store.describe(), await store.state(), await store.counts()];
  return { url: store.url, ...description, ...state, ...counts };
}

/** A gallery for a person. */
export function galleryText({ url, rows, moved, dim, kind, table, id, vector, stamp, migration }: GalleryInfo): string {
  return [
    `${url}: ${rows} rows in the table ${table} (${kind}), ids in ${id}, vectors of ${dim ?? '?'} dimensions in ${vector}`,
    `  ${stamp ? `vectors of ${stampText(stamp)}${stamp.normalised ? ', of length 1' : ''}` : 'not stamped: nothing says which model its vectors are of'}`,
    ...(migration ? [`  ${migration.phase === 'moving' ? `${moved} of ${rows} rows are moved` : 'cut over'} to ${stampText(migration.target)}`] : []),
  ].join('\n'); // biome-ignore format: short
}
