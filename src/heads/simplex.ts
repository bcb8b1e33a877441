import { UserError } from '../base/errors.ts';
import { crossEntropy, keep, linear, type Tensor, tensor } from '../torch/index.ts';
import { Head } from './head.ts';

export type SimplexOptions = {
  /** Vertex of the first class; the others follow. */
  readonly firstVertex: number;
};

/**
 * The vertices of a regular simplex as rows of length 1, whose cosines are all -1/D: D + 1 of them in D dimensions. They begin
 * with vertex `first`, and go round. → flat [(D + 1) · D]
 *
 * Source: d-simplex of arXiv:1902.10441 (RePoNet): D unit axes and one more point on their diagonal, less the mean, to length 1.
 */
export function simplexVertices(dim: number, first = 0): Float32Array {
  const last = (1 - Math.sqrt(dim + 1)) / dim;
  const mean = (1 + last) / (dim + 1); // of every coordinate
  const rows = new Float32Array((dim + 1) * dim);
  // an axis less the mean has the same length as the last point less the mean
  const length = Math.hypot(1 - mean, mean * Math.sqrt(dim - 1));
  for (let row = 0; row <= dim; row++) {
    const vertex = (row + first) % (dim + 1);
    const fill = ((vertex === dim ? last : 0) - mean) / length;
    rows.fill(fill, row * dim, (row + 1) * dim);
    if (vertex < dim) rows[row * dim + vertex] = (1 - mean) / length;
  }
  return rows;
}

/**
 * A classifier that is not learned: its classes are vertices of a regular simplex. Models that give a class the same vertex
 * learn embeddings that can be compared. Vertices without a class stand for classes to come. It holds D + 1 rows of D numbers.
 */
export class Simplex extends Head {
  override readonly clipped = true;
  readonly #vertices: Tensor; // [D + 1, D], no state: they follow from D

  /** @throws UserError if there are fewer vertices than classes. */
  constructor(embeddingDim: number, classes: number, { firstVertex }: SimplexOptions) {
    super();
    if (firstVertex + classes > embeddingDim + 1)
      throw new UserError(
        `a simplex in ${embeddingDim} dimensions has ${embeddingDim + 1} vertices, and ${classes} classes from vertex ${firstVertex} on need ${firstVertex + classes}`,
        { hint: `raise network.embeddingDim to at least ${firstVertex + classes - 1}, or take another head` },
      );
    this.#vertices = keep(
      tensor(simplexVertices(embeddingDim, firstVertex), { shape: [embeddingDim + 1, embeddingDim] }),
    );
  }

  /** Row y is the vertex of class y; the rows after the last class are vertices without one. [D + 1, D] */
  override get weight(): Tensor {
    return this.#vertices;
  }

  override logits(embeddings: Tensor): Tensor {
    return linear(embeddings, this.#vertices);
  }

  override loss(embeddings: Tensor, labels: Tensor): Tensor {
    return crossEntropy(this.logits(embeddings), labels);
  }

  override dispose(): void {
    this.#vertices.dispose();
  }
}
