import { UserError } from '../base/errors.ts';
import type { Pairs } from './protocol.ts';

/** A model's embeddings of face images as they are, and of their mirror images, flat [N · D]. */
export type FaceEmbeddings = {
  readonly original: ArrayLike<number>;
  readonly mirrored: ArrayLike<number>;
  readonly dim: number;
};

/** What is known of each image: its template, its medium (a photograph, or all frames of a video), the detector's score. [N] each */
export type FaceImages = {
  readonly templates: ArrayLike<number>;
  readonly media: ArrayLike<number>;
  readonly detector: ArrayLike<number>;
};

/** One row of length 1 for each template, flat [T · D]; ids ascend. [T] */
export type Templates = { readonly ids: Int32Array; readonly rows: Float64Array; readonly dim: number };

/**
 * Pools images into templates: an image counts as f(x) + f(mirrored x) times the detector's score, a medium as the mean of
 * its images, a template as the sum of its media, brought to length 1. A template of zeros stays zero.
 *
 * The mean of a medium is never made: each image adds its share of it, so that memory holds templates, not images.
 * @throws UserError if a template is not finite. Source: methods.md 6.4 (N0 D1 F1).
 */
export function poolTemplates({ original, mirrored, dim }: FaceEmbeddings, images: FaceImages): Templates {
  const count = images.templates.length;
  for (const [what, length] of Object.entries({
    'original embeddings': original.length / dim,
    'mirrored embeddings': mirrored.length / dim,
    'media ids': images.media.length,
    'detector scores': images.detector.length,
  }))
    if (length !== count) throw new UserError(`${count} images of templates, but ${length} ${what}`);
  const ids = Int32Array.from(new Set(Array.from(images.templates))).sort();
  const place = new Map(Array.from(ids, (id, t) => [id, t]));
  const imagesOfMedia = countByMedia(images);
  const rows = new Float64Array(ids.length * dim);
  for (let i = 0; i < count; i++) {
    const template = images.templates[i]!;
    const weight = images.detector[i]! / imagesOfMedia.get(template)!.get(images.media[i]!)!;
    const [from, into] = [i * dim, place.get(template)! * dim];
    for (let d = 0; d < dim; d++) rows[into + d]! += (original[from + d]! + mirrored[from + d]!) * weight;
  }
  for (const [t, id] of ids.entries()) {
    const row = rows.subarray(t * dim, (t + 1) * dim);
    const length = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0));
    if (!Number.isFinite(length)) throw new UserError(`template ${id} is not finite`);
    if (length > 0) for (let d = 0; d < dim; d++) row[d]! /= length;
  }
  return { ids, rows, dim };
}

/** How many images each medium of each template has. A medium may be in several templates, where it is several media. */
function countByMedia({ templates, media }: FaceImages): Map<number, Map<number, number>> {
  const counts = new Map<number, Map<number, number>>();
  for (let i = 0; i < templates.length; i++) {
    const of = counts.get(templates[i]!) ?? new Map<number, number>();
    counts.set(templates[i]!, of.set(media[i]!, (of.get(media[i]!) ?? 0) + 1));
  }
  return counts;
}

/** Where templates stand, by id. @throws UserError if one of `wanted` has no images. */
export function templatePositions({ ids }: Templates, wanted: ArrayLike<number>): Int32Array {
  const place = new Map(Array.from(ids, (id, t) => [id, t]));
  return Int32Array.from(wanted, (id) => {
    const at = place.get(id);
    if (at === undefined) throw new UserError(`template ${id} has no images`);
    return at;
  });
}

/** The templates of a gallery or of probes, once each with ascending ids, and whom their first mention says they show. */
export function enrolment(
  templates: ArrayLike<number>,
  subjects: ArrayLike<number>,
): { readonly ids: Int32Array; readonly subjects: Int32Array } {
  const first = new Map<number, number>();
  for (let i = 0; i < templates.length; i++) if (!first.has(templates[i]!)) first.set(templates[i]!, subjects[i]!);
  const ids = Int32Array.from(first.keys()).sort();
  return { ids, subjects: ids.map((id) => first.get(id)!) };
}

/**
 * Cosine of each pair of positions, in double precision. [K] In a cross test the gallery side, which is the first template of
 * a pair, is the old model's, the query side the new one's (methods.md 6.5).
 * @throws UserError if the two have other dimensions.
 */
export function templateScores(gallery: Templates, query: Templates, pairs: Pairs): Float64Array {
  if (gallery.dim !== query.dim)
    throw new UserError(`templates of ${gallery.dim} and of ${query.dim} dimensions cannot be compared`);
  const { dim } = gallery;
  const scores = new Float64Array(pairs.gallery.length);
  for (let k = 0; k < scores.length; k++) {
    const [g, q] = [pairs.gallery[k]! * dim, pairs.query[k]! * dim];
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += gallery.rows[g + d]! * query.rows[q + d]!;
    scores[k] = sum;
  }
  return scores;
}
