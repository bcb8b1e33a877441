import { FileError } from '../base/errors.ts';
import { linear, noGrad, scope, tensor, toFloat32 } from '../torch/index.ts';
import type { Pairs } from './protocol.ts';

/** Embeddings of the evaluation set, rows of length 1 (zero rows stay zero): flat [N · D]. */
export type Embeddings = { readonly rows: Float32Array; readonly dim: number };

/** Divides rows by their length. `name` is what a message calls them. @throws FileError if a value is not finite. */
export function unitEmbeddings(rows: Float32Array, dim: number, name: string): Embeddings {
  const unit = new Float32Array(rows.length);
  for (let start = 0; start < rows.length; start += dim) {
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += rows[start + d]! ** 2;
    if (!Number.isFinite(sum))
      throw new FileError(
        name,
        `row ${start / dim} is not finite`,
        'the model that made it has diverged: train it again with a lower learning rate',
      );
    const scale = sum > 0 ? 1 / Math.sqrt(sum) : 0;
    for (let d = 0; d < dim; d++) unit[start + d] = rows[start + d]! * scale;
  }
  return { rows: unit, dim };
}

/** Cosine of each pair: the gallery side from one model, the query side from another. [K] */
export function pairScores(query: Embeddings, gallery: Embeddings, pairs: Pairs): Float32Array {
  const { dim } = query;
  const scores = new Float32Array(pairs.query.length);
  for (let i = 0; i < scores.length; i++) {
    const [q, g] = [pairs.query[i]! * dim, pairs.gallery[i]! * dim];
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += query.rows[q + d]! * gallery.rows[g + d]!;
    scores[i] = sum;
  }
  return scores;
}

/** Cosines of probes with gallery entries, flat [P · G]; both are positions. */
export function similarities(
  query: Embeddings,
  gallery: Embeddings,
  probes: Int32Array,
  entries: Int32Array,
): Float32Array {
  const taken = ({ rows, dim }: Embeddings, positions: Int32Array) => {
    const data = new Float32Array(positions.length * dim);
    for (const [i, at] of positions.entries()) data.set(rows.subarray(at * dim, (at + 1) * dim), i * dim);
    return tensor(data, { shape: [positions.length, dim] });
  };
  return noGrad(() => scope(() => toFloat32(linear(taken(query, probes), taken(gallery, entries)))));
}
