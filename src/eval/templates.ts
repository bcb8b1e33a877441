import { UserError } from '../base/errors.ts';
import { groupPositions } from '../base/group-positions.ts';
import type { Pairs } from './labelled-set-protocol.ts';
import { arrayBlocks, eachProductBlock, takeRows } from './product-blocks.ts';
import { clampCosine, cosine, GRID, isZeroRow, NO_SCORE } from './scores.ts';

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
  const weights = imageWeights(places, images, faces.missing ?? new Set());
  const rows = new Float64Array(ids.length * dim);
  const weighed = new Float64Array(ids.length); // the sum of lengths, which the sum of images has if none cancels another
  for (let from = 0; from < count; from += CHUNK_ROWS) {
    const chunk = faces.block(from, Math.min(CHUNK_ROWS, count - from));
    for (let i = from, at = 0; at < chunk.length; i++, at += dim)
      weighed[places[i]!]! += addScaled(rows, places[i]! * dim, chunk, at, weights[i]!, dim);
  }
  for (const [t, id] of ids.entries()) {
    let squares = 0;
    for (let k = t * dim; k < (t + 1) * dim; k++) squares += rows[k]! ** 2;
    if (!Number.isFinite(squares)) throw new UserError(`template ${id} is not finite`);
    const length = Math.sqrt(squares);
    if (length > CANCELLATION_LIMIT * weighed[t]!) for (let k = t * dim; k < (t + 1) * dim; k++) rows[k]! /= length;
    else rows.fill(0, t * dim, (t + 1) * dim);
  }
  return { ids, rows, dim };
}

/** A sum shorter than this share of its terms is a rounding error of terms that cancel, so it has no direction. */
export const CANCELLATION_LIMIT = 2 ** -20;

/** → the length of what was added */
function addScaled(
  sums: Float64Array,
  into: number,
  values: ArrayLike<number>,
  from: number,
  weight: number,
  dim: number,
): number {
  let squares = 0;
  for (let d = 0; d < dim; d++) {
    const term = values[from + d]! * weight;
    sums[into + d]! += term;
    squares += term * term;
  }
  return Math.sqrt(squares);
}

/**
 * Each image's detector score over the images of its medium, 0 if it is missing. A medium may be in several templates, where
 * it is several media.
 */
function imageWeights(places: Int32Array, { media, detector }: FaceImages, missing: ReadonlySet<number>): Float64Array {
  const order = Int32Array.from(places.keys());
  order.sort((a, b) => places[a]! - places[b]! || media[a]! - media[b]!);
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
  if (gallery.dim !== query.dim)
    throw new UserError(`templates of ${gallery.dim} and of ${query.dim} dimensions cannot be compared`);
  const { dim } = gallery;
  const [lefts, rights] = [distinctPositions(pairs.gallery, gallery), distinctPositions(pairs.query, query)];
  const scores = new Float64Array(pairs.gallery.length);
  const width = rights.rows.length;
  if (lefts.rows.length * width > MOST_PRODUCTS_PER_PAIR * scores.length) {
    for (let k = 0; k < scores.length; k++)
      scores[k] = roundToGrid(cosine(gallery.rows, pairs.gallery[k]!, query.rows, pairs.query[k]!, dim));
    return scores;
  }
  const placeOf = (pair: number): number => lefts.place[pairs.gallery[pair]!]!;
  const { order, starts } = groupPositions(scores.length, lefts.rows.length, placeOf);
  const [left, right] = [takeRows(gallery.rows, lefts.rows, dim), takeRows(query.rows, rights.rows, dim)];
  const zero = (rows: Float64Array, i: number): boolean => isZeroRow(rows, i * dim, dim);
  eachProductBlock(arrayBlocks(left, dim), right, dim, (products, from, count) => {
    for (let k = starts[from]!; k < starts[from + count]!; k++) {
      const pair = order[k]!;
      const [row, column] = [placeOf(pair), rights.place[pairs.query[pair]!]!];
      const score = roundToGrid(products[(row - from) * width + column]!);
      scores[pair] = score === 0 && (zero(left, row) || zero(right, column)) ? NO_SCORE : score;
    }
  });
  return scores;
}

/** `rows`: the positions that occur, ascending. `place`: for a position, its place among them. */
type DistinctPositions = { readonly rows: Int32Array; readonly place: Int32Array };

function distinctPositions(positions: Int32Array, { ids }: Templates): DistinctPositions {
  const place = new Int32Array(ids.length);
  for (let k = 0; k < positions.length; k++) place[positions[k]!] = 1;
  const rows = Int32Array.from(place.keys()).filter((t) => place[t] === 1);
  for (let i = 0; i < rows.length; i++) place[rows[i]!] = i;
  return { rows, place };
}

/**
 * Rounds a score so that equal pairs have equal scores, however they were multiplied. Genuine and impostor scores are compared
 * exactly, so a tie must not be decided by rounding.
 */
const roundToGrid = (score: number): number =>
  score === NO_SCORE ? score : clampCosine(Math.round(score / GRID) * GRID);
