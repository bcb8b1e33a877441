import { UserError } from '../base/errors.ts';
import { groupPositions } from '../base/group-positions.ts';
import { narrow, pickProducts_, poolRows_, scope, share, type Tensor } from '../torch/index.ts';
import type { Pairs } from './labelled-set-protocol.ts';
import { eachProductBlock, type ProductUser, selectedBlocks } from './product-blocks.ts';
import { clampCosine, cosine, GRID, isZeroRow, NO_SCORE, type Rows } from './scores.ts';

/**
 * A model's embeddings of face images: of each image f(x) + f(mirrored x), or the mean of both, which has the same direction.
 * `block` gives rows `from` … `from + count - 1`, flat; a feature set reads them from disk.
 */
export type FaceEmbeddings = {
  readonly count: number;
  readonly dim: number;
  /** The next call may use its memory again. */
  block(from: number, count: number): ArrayLike<number>;
  /** Images without an embedding: they count in no template and no medium. */
  readonly missing?: ReadonlySet<number>;
};

/** Each image's template, its medium (a photograph, or all frames of a video) and its detector score. [N] each */
export type FaceImages = {
  readonly templates: ArrayLike<number>;
  readonly media: ArrayLike<number>;
  readonly detector: ArrayLike<number>;
};

/** One row of length 1 for each template, flat [T · D]; ids ascend. [T] */
export type Templates = { readonly ids: Int32Array; readonly rows: Float64Array; readonly dim: number };

/** Embeddings read at a time; they fit the processor's cache. */
const CHUNK_ROWS = 256;

/**
 * Pools images into templates: an image counts as f(x) + f(mirrored x) times the detector's score, a medium as the mean of
 * its images, a template as the sum of its media, brought to length 1. A template is zeros if its images are, weigh nothing,
 * or cancel.
 *
 * Each image adds its share of the mean of its medium, so memory holds templates, not images.
 * @throws UserError if a template is not finite. Source: methods.md 6.4 (N0 D1 F1).
 */
export function poolTemplates(faces: FaceEmbeddings, images: FaceImages): Templates {
  const { count, dim } = faces;
  for (const [what, length] of Object.entries({
    templates: images.templates.length,
    'media ids': images.media.length,
    'detector scores': images.detector.length,
  }))
    if (length !== count) throw new UserError(`${count} embeddings, but ${length} ${what}`);
  const ids = Int32Array.from(new Set(Array.from(images.templates))).sort();
  const places = templatePositions({ ids }, images.templates);
  const weights = imageWeights(places, ids.length, images, faces.missing ?? new Set());
  const rows = new Float64Array(ids.length * dim);
  const weighed = new Float64Array(ids.length); // the sum of lengths, which the sum of images has if none cancels another
  scope(() => {
    const [sums, lengths] = [share(rows, { shape: [ids.length, dim] }), share(weighed)];
    for (let from = 0; from < count; from += CHUNK_ROWS)
      scope(() => {
        const chunk = faces.block(from, Math.min(CHUNK_ROWS, count - from));
        const x = share(isRows(chunk) ? chunk : Float64Array.from(chunk), { shape: [chunk.length / dim, dim] });
        const of = <T extends Int32Array | Float64Array>(values: T) => share(values.subarray(from, from + x.shape[0]!));
        poolRows_(sums, lengths, x, of(places), of(weights));
      });
  });
  for (const [t, id] of ids.entries())
    if (!normalize(rows.subarray(t * dim, (t + 1) * dim), CANCELLATION_LIMIT * weighed[t]!))
      throw new UserError(`template ${id} is not finite`);
  return { ids, rows, dim };
}

/** A sum shorter than this share of its terms is a rounding error of terms that cancel, so it has no direction. */
export const CANCELLATION_LIMIT = 2 ** -20;

/** Brings a row to length 1, or to zeros if it is not longer than `limit`. @returns whether it is finite */
function normalize(row: Float64Array, limit: number): boolean {
  let squares = 0;
  for (let d = 0; d < row.length; d++) squares += row[d]! ** 2;
  const length = Math.sqrt(squares);
  if (!Number.isFinite(length)) return false;
  if (length > limit) for (let d = 0; d < row.length; d++) row[d]! /= length;
  else row.fill(0);
  return true;
}

const isRows = (values: ArrayLike<number>): values is Rows =>
  values instanceof Float32Array || values instanceof Float64Array;

/**
 * Each image's detector score over the images of its medium, 0 if it is missing. A medium may be in several templates, where
 * it is several media.
 */
function imageWeights(
  places: Int32Array,
  templates: number,
  { media, detector }: FaceImages,
  missing: ReadonlySet<number>,
): Float64Array {
  const { order, starts } = groupPositions(places.length, templates, (i) => places[i]!);
  for (let t = 0; t < templates; t++) order.subarray(starts[t], starts[t + 1]).sort((a, b) => media[a]! - media[b]!);
  const weights = new Float64Array(order.length);
  for (let from = 0, to = 0; from < order.length; from = to) {
    const first = order[from]!;
    while (to < order.length && places[order[to]!] === places[first] && media[order[to]!] === media[first]) to++;
    const medium = order.subarray(from, to);
    const present = missing.size === 0 ? medium : medium.filter((i) => !missing.has(i));
    for (const i of present) weights[i] = detector[i]! / present.length;
  }
  return weights;
}

/** The largest id that is looked up in a table; larger ones are looked up in a map. */
const LARGEST_TABLE = 1 << 24;

/** Positions of templates by id. @throws UserError if one of `wanted` has no images. */
export function templatePositions({ ids }: Pick<Templates, 'ids'>, wanted: ArrayLike<number>): Int32Array {
  const place = positionsById(ids);
  const positions = new Int32Array(wanted.length);
  for (let i = 0; i < positions.length; i++) {
    const at = place instanceof Map ? place.get(wanted[i]!) : place[wanted[i]!];
    if (at === undefined || at < 0) throw new UserError(`template ${wanted[i]} has no images`);
    positions[i] = at;
  }
  return positions;
}

/** Positions by id; -1 or undefined if there is none. Pairs are many, so a table is worth its memory. */
function positionsById(ids: Int32Array): Int32Array | Map<number, number> {
  const largest = ids.at(-1) ?? -1;
  if (ids[0]! < 0 || largest > LARGEST_TABLE) return new Map(Array.from(ids, (id, t) => [id, t]));
  const table = new Int32Array(largest + 1).fill(-1);
  for (const [t, id] of ids.entries()) table[id] = t;
  return table;
}

/** Products per pair above which separate products are cheaper than blocks. */
const MOST_PRODUCTS_PER_PAIR = 32;

/**
 * Cosine of each pair of positions, in double precision. [K] In a cross-test the gallery side, the first template of a
 * pair, is the old model's, and the query side the new one's (methods.md 6.5).
 *
 * Protocols compare few gallery templates with many queries. So all products of the templates that occur are computed in blocks,
 * and each pair is picked from them. Pairs too scattered for that are multiplied one by one.
 * @throws UserError if the two have different dimensions.
 */
export function templateScores(gallery: Templates, query: Templates, pairs: Pairs): Float64Array {
  return scoresAt(sideOf(gallery, pairs.gallery, null), sideOf(query, pairs.query, null));
}

/**
 * `templateScores` of pairs of ids. `user` gets the products that it needs from the same blocks, unless pairs are multiplied one by one.
 * @throws UserError if one of them has no images
 */
export function scoresOfIds(
  gallery: Templates,
  query: Templates,
  pairs: Pairs,
  user?: ProductUser<Float64Array>,
): Float64Array {
  const side = (templates: Templates, ids: Int32Array): Side => {
    const table = positionsById(templates.ids);
    return table instanceof Map
      ? sideOf(templates, templatePositions(templates, ids), null)
      : sideOf(templates, ids, table);
  };
  return scoresAt(side(gallery, pairs.gallery), side(query, pairs.query), user);
}

/** One side of all pairs. */
type Side = {
  readonly templates: Templates;
  /** What a pair calls its template, and the position of that. */
  readonly names: Int32Array;
  readonly positionOf: (name: number) => number;
  /** Marks names that occur. */
  readonly occurs: Uint8Array;
};

/** `table`: positions by id, -1 if there is none; null: the names are positions. */
function sideOf(templates: Templates, names: Int32Array, table: Int32Array | null): Side {
  const occurs = new Uint8Array(table?.length ?? templates.ids.length);
  let strange: number | undefined;
  for (let k = 0; k < names.length; k++) {
    const name = names[k]!;
    if (name >= 0 && name < occurs.length) occurs[name] = 1;
    else strange = name;
  }
  const positionOf = (name: number): number => (table ? table[name]! : name);
  strange ??= occurs.findIndex((mark, name) => mark === 1 && positionOf(name) < 0);
  if (strange !== -1) throw new UserError(`template ${strange} has no images`);
  return { templates, names, positionOf, occurs };
}

/** Where a side's templates are in products. */
type Places = {
  /** Positions whose products are made, ascending, and for a position its place among them, -1 if it has none. */
  readonly positions: Int32Array;
  readonly ofPosition: Int32Array;
  /** The same for a name. */
  readonly ofName: Int32Array;
};

/** Places for the templates of all pairs, and for more positions. */
function placesOf({ templates, occurs, positionOf }: Side, more: Int32Array = new Int32Array(0)): Places {
  const ofPosition = new Int32Array(templates.ids.length).fill(-1);
  for (let name = 0; name < occurs.length; name++) if (occurs[name] === 1) ofPosition[positionOf(name)] = 0;
  for (const position of more) ofPosition[position] = 0;
  const positions = ofPosition.map((_, position) => position).filter((position) => ofPosition[position] === 0);
  for (const [place, position] of positions.entries()) ofPosition[position] = place;
  return {
    positions,
    ofPosition,
    ofName: Int32Array.from(occurs, (mark, name) => (mark === 1 ? ofPosition[positionOf(name)]! : -1)),
  };
}

function scoresAt(gallery: Side, query: Side, user?: ProductUser<Float64Array>): Float64Array {
  const { dim } = gallery.templates;
  if (dim !== query.templates.dim)
    throw new UserError(`templates of ${dim} and of ${query.templates.dim} dimensions cannot be compared`);
  const scores = new Float64Array(gallery.names.length);
  const occurring = ({ occurs }: Side): number => occurs.reduce((sum, mark) => sum + mark, 0);
  if (occurring(gallery) * occurring(query) > MOST_PRODUCTS_PER_PAIR * scores.length) {
    const at = ({ names, positionOf }: Side, k: number): number => positionOf(names[k]!);
    for (let k = 0; k < scores.length; k++)
      scores[k] = roundToGrid(cosine(gallery.templates.rows, at(gallery, k), query.templates.rows, at(query, k), dim));
    return scores;
  }
  const [rowPlaces, columnPlaces] = [placesOf(gallery), placesOf(query, user?.columns)];
  const use = user?.taker(rowPlaces.positions, columnPlaces.ofPosition);
  const marked = ({ templates }: Side, { positions }: Places): Tensor =>
    share(Uint8Array.from(positions, (position) => (isZeroRow(templates.rows, position * dim, dim) ? 1 : 0)));
  const width = columnPlaces.positions.length;
  const left = selectedBlocks(gallery.templates.rows, rowPlaces.positions, dim);
  const sides = { left, right: query.templates.rows, order: columnPlaces.positions, dim };
  const parts = partsOf(gallery.names, rowPlaces.ofName);
  scope(() => {
    const into = share(scores);
    const [rows, columns] = [share(gallery.names), share(query.names)];
    const places = { rowOf: share(rowPlaces.ofName), columnOf: share(columnPlaces.ofName) };
    const zeros = { zeroRows: marked(gallery, rowPlaces), zeroColumns: marked(query, columnPlaces) };
    eachProductBlock(sides, (block) => {
      const { products, first, count } = block;
      scope(() => {
        const some = share(products.subarray(0, count * width), { shape: [count, width] });
        for (const { from, to } of partsWithin(parts, first, first + count)) {
          const part = (of: Tensor): Tensor => narrow(of, 0, from, to - from);
          pickProducts_(part(into), some, {
            ...{ first, rows: part(rows), columns: part(columns), ...places },
            ...{ ...zeros, grid: GRID },
          });
        }
      });
      use?.(block);
    });
  });
  return scores;
}

/** Pairs `from` … `to - 1`, and the lowest and highest place that their rows have. */
type PairPart = { readonly from: number; readonly to: number; readonly lowest: number; readonly highest: number };

/** Pairs of a part. Lists go through the gallery in order, so that most parts have rows of one block of products. */
const PART_PAIRS = 1 << 14;

function partsOf(names: Int32Array, placeOf: Int32Array): PairPart[] {
  const parts: PairPart[] = [];
  for (let from = 0; from < names.length; from += PART_PAIRS) {
    const to = Math.min(from + PART_PAIRS, names.length);
    let [lowest, highest] = [placeOf.length, -1];
    for (let k = from; k < to; k++) {
      const place = placeOf[names[k]!]!;
      if (place < lowest) lowest = place;
      if (place > highest) highest = place;
    }
    parts.push({ from, to, lowest, highest });
  }
  return parts;
}

/** The parts that may have rows from `first` to before `end`, those that follow each other joined. */
function partsWithin(parts: readonly PairPart[], first: number, end: number): { from: number; to: number }[] {
  const joined: { from: number; to: number }[] = [];
  for (const { from, to, lowest, highest } of parts) {
    if (highest < first || lowest >= end) continue;
    const last = joined.at(-1);
    if (last?.to === from) last.to = to;
    else joined.push({ from, to });
  }
  return joined;
}

/**
 * Rounds a score so that equal pairs have equal scores, however they were multiplied. Genuine and impostor scores are compared
 * exactly, so a tie must not be decided by rounding.
 */
const roundToGrid = (score: number): number =>
  score === NO_SCORE ? score : clampCosine(Math.round(score / GRID) * GRID);
