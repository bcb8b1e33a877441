import { Adapter } from '../adapt/index.ts';
import { type Hint, optionHint, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { readImages } from '../encoders/index.ts';
import { calibrateOne } from '../eval/calibration.ts';
import { allowsSearch, pairOf, readThresholds } from '../eval/thresholds.ts';
import type { ThresholdPair, Thresholds } from '../eval/thresholds-schema.ts';
import { FeatureSet } from '../features/index.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import type { GalleryStore, SearchedSpace } from '../stores/gallery-store.ts';
import { openStore } from '../stores/open-store.ts';
import { requireStamp } from '../stores/requirements.ts';
import type { Stamp } from '../stores/stamp.ts';
import { stampText } from '../stores/stamp-text.ts';

export type SearchGalleryOptions = {
  readonly url: string;
  /** A finished run, which embeds `images`. */
  readonly model?: string | undefined;
  readonly images?: readonly string[];
  /** A feature set, whose rows are the queries. */
  readonly features?: string | undefined;
  /** The rows to search for; default: all. */
  readonly rows?: readonly number[] | undefined;
  /** An adapter for the query. */
  readonly adapter?: string | undefined;
  /** A file of `mixbct thresholds`: which galleries the model's queries may be compared with, from which score on, on which scale. */
  readonly thresholds?: string | undefined;
  readonly k?: number;
  /** Columns to tell of each hit. */
  readonly fields?: readonly string[] | undefined;
};

export type GalleryHit = {
  readonly id: string;
  /** Cosine. */
  readonly score: number;
  /** By the calibration of the two models; null: there is none. */
  readonly logOdds: number | null;
  /** Name of the model that the vector is of. */
  readonly of: string;
  readonly fields: Readonly<Record<string, unknown>>;
};
export type QueryHits = { readonly query: string; readonly hits: readonly GalleryHit[] };

type Queries = {
  readonly names: readonly string[];
  readonly vectors: readonly Float32Array[];
  readonly dim: number;
  readonly model: { readonly name: string; readonly digest: string };
};

/** Vectors that an adapter mapped into a model's space, and that model's own, are not judged alike. */
const spaceKey = ({ model, adapter }: Stamp): string => `${model.digest}+${adapter?.digest ?? ''}`;

/** How queries are compared with the vectors of one model, by `spaceKey`. */
type Comparison = { readonly map: (query: Float32Array) => Float32Array; readonly pair: ThresholdPair | undefined };

/**
 * Searches a gallery with images or with the rows of a feature set. During a migration each row is compared in the space that it is in,
 * and the hits of both are merged by their calibrations.
 * @throws UserError if nothing says that the queries may be compared with the vectors that are there
 */
export async function searchGallery(options: SearchGalleryOptions): Promise<QueryHits[]> {
  const { url, k = 10, fields = [] } = options;
  await using store = await openStore(url);
  const { stamp, migration } = requireStamp(store.url, await store.state());
  const queries = await readQueries(options);
  const thresholds = options.thresholds === undefined ? null : readThresholds(options.thresholds);
  using adapter = options.adapter === undefined ? null : Adapter.open(options.adapter);
  const spaces = migration?.phase === 'moving' ? [stamp, migration.target] : [stamp];
  const comparisons = new Map<string, Comparison>();
  for (const space of spaces) comparisons.set(spaceKey(space), comparisonWith(store, space, queries, { adapter, thresholds })); // biome-ignore format: short
  if (comparisons.size > 1 && !isCalibrated(comparisons))
    logLine('note: there is no calibration for both models: cosines are compared as they are');
  const found: QueryHits[] = [];
  for (const [i, query] of queries.names.entries()) {
    const inSpace = (space: Stamp): Float32Array => comparisons.get(spaceKey(space))!.map(queries.vectors[i]!);
    const vectors = new Map(spaces.map((space) => [space.model.digest, inSpace(space)]));
    found.push({ query, hits: merged(await searchedBy(store, vectors, { k, fields, comparisons }), comparisons, k) });
  }
  return found;
}

/** Searches with a vector for each space. @throws UserError if the gallery has come to another phase meanwhile */
async function searchedBy(
  store: GalleryStore,
  vectors: ReadonlyMap<string, Float32Array>,
  { comparisons, ...how }: { readonly k: number; readonly fields: readonly string[]; readonly comparisons: ReadonlyMap<string, Comparison> }, // biome-ignore format: short
): Promise<SearchedSpace[]> {
  const spaces = await store.search(vectors, how);
  // vectors that an adapter mapped and the model's own have one digest
  const other = spaces.find(({ stamp, hits }) => hits === null || !comparisons.has(spaceKey(stamp)));
  if (!other) return spaces;
  throw new UserError(`${store.url}: holds vectors of ${stampText(other.stamp)} since this search began`, {
    hint: 'search again',
  });
}

async function readQueries({ model, images = [], features, rows }: SearchGalleryOptions): Promise<Queries> {
  if ((model === undefined) === (features === undefined))
    throw new UserError('wanted one kind of queries', { hint: optionHint('--features, or --model with images') });
  if (features !== undefined) {
    if (images.length > 0) throw new UserError(`${images[0]}: an image, and the queries are of a feature set`, { hint: optionHint('--model embeds images') }); // biome-ignore format: short
    return featureQueries(features, rows);
  }
  if (images.length === 0) throw new UserError('wanted images to search for', { hint: optionHint('name them after --model RUN') }); // biome-ignore format: short
  using encoder = await openEncoder(model!);
  const { dim, name, digest } = encoder;
  const flat = await encoder.embed(await readImages(images, encoder), images.length);
  const vectors = images.map((_, i) => flat.slice(i * dim, (i + 1) * dim));
  return { names: images, vectors, dim, model: { name, digest } };
}

function featureQueries(path: string, rows: readonly number[] | undefined): Queries {
  using set = FeatureSet.open(path);
  const { model, adapter, count, dim } = set.info;
  if (!model || adapter)
    throw new UserError(`${path} ${adapter ? 'went through an adapter' : 'does not say which model its features are of'}`, {
      hint: adapter ? optionHint('give the features as the model made them, and --adapter') : 'extract them with a run: mixbct extract',
    }); // biome-ignore format: short
  const wrong = rows?.find((row) => row >= count);
  if (wrong !== undefined) throw new UserError(`${path} has no row ${wrong}, its rows are 0 … ${count - 1}`);
  const missing = set.missing();
  const asked = (rows ?? Array.from({ length: count }, (_, row) => row)).filter((row) => !missing.has(row));
  const vectors = asked.map((row) => set.rows([row]).slice());
  return { names: asked.map((row) => set.id(row) ?? `row ${row}`), vectors, dim, model };
}

/** @throws UserError unless queries of this model may be compared with vectors of that one */
function comparisonWith(
  { url }: GalleryStore,
  space: Stamp,
  { model, dim }: Queries,
  { adapter, thresholds }: { readonly adapter: Adapter | null; readonly thresholds: Thresholds | null },
): Comparison {
  const { digest } = space.model;
  const own = thresholds ? pairAsIs(thresholds, model.digest, space) : undefined;
  if (model.digest === digest) return { map: (query) => query, pair: own };
  const { from, to } = adapter?.sides ?? {};
  if (
    adapter &&
    adapter.info.direction === 'query' &&
    from!.model?.digest === model.digest &&
    to!.model?.digest === digest
  )
    return { map: (query) => adapter.map(query, url), pair: thresholds ? pairThrough(thresholds, adapter, model, space) : undefined }; // biome-ignore format: short
  if (own && allowsSearch(own) && dim === space.dim) return { map: (query) => query, pair: own };
  throw new UserError(`${url}: holds vectors of ${stampText(space)}, the query is of ${model.name} (digest ${model.digest})`, {
    hint: refusalHint(url, space, own),
  }); // biome-ignore format: short
}

/** What to do where queries as they are may not search a gallery; `pair`: what evaluations say of them. */
function refusalHint(url: string, space: Stamp, pair: ThresholdPair | undefined): Hint {
  const move = `move the gallery with mixbct migrate run '${url}'`;
  switch (pair?.grade) {
    case 'no':
      return `an evaluation found that these queries are worse there: ${move}`;
    case 'withheld':
      return ['the evaluation of both has no verdict, its report says why: evaluate both on 100 identities or more that no model has seen', move]; // biome-ignore format: short
    default:
      return [
        `search with ${space.model.name}`,
        optionHint('give an adapter for the query by --adapter'),
        optionHint('show that both can be compared by --thresholds of an evaluation that judges these queries'),
        move,
      ];
  }
}

/** What is known of a model's queries as they are, on vectors with a stamp. */
export const pairAsIs = (thresholds: Thresholds, query: string, { model, adapter }: Stamp): ThresholdPair | undefined =>
  pairOf(thresholds, { query: { digest: query }, gallery: { digest: adapter?.from ?? model.digest }, adapter });

/** What is known of a model's queries through an adapter: it was evaluated beside them, or on features that it had mapped. */
function pairThrough(thresholds: Thresholds, adapter: Adapter, model: Queries['model'], space: Stamp) {
  if (space.adapter) return undefined;
  const of = ({ digest }: Queries['model']): ThresholdPair | undefined =>
    pairOf(thresholds, { query: { digest }, gallery: { digest: space.model.digest }, adapter: adapter.applied() });
  return of(model) ?? of(adapter.modelThrough(model));
}

/** The hits above the thresholds, of several spaces on one scale: log-odds where both are calibrated, else cosines. */
function merged(
  spaces: readonly SearchedSpace[],
  comparisons: ReadonlyMap<string, Comparison>,
  k: number,
): GalleryHit[] {
  const found: GalleryHit[] = [];
  for (const { stamp, hits } of spaces) {
    const { pair } = comparisons.get(spaceKey(stamp))!;
    for (const { key, score, fields } of hits!) {
      if (pair && pair.threshold.value !== null && score <= pair.threshold.value) continue;
      const logOdds = pair?.calibration ? calibrateOne(pair.calibration, score) : null;
      found.push({ id: key, score, logOdds, of: stamp.model.name, fields });
    }
  }
  const calibrated = isCalibrated(comparisons);
  const value = ({ score, logOdds }: GalleryHit): number => (calibrated ? logOdds! : score);
  return found.sort((a, b) => value(b) - value(a)).slice(0, k);
}

const isCalibrated = (comparisons: ReadonlyMap<string, Comparison>): boolean =>
  [...comparisons.values()].every(({ pair }) => pair?.calibration);
