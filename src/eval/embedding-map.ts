import type { Rng } from '../base/rng.ts';
import { scope, share, svd, toFloat64 } from '../torch/index.ts';
import type { EmbeddingMap, MapPoint } from './evaluation.ts';
import { positionsByClass } from './labelled-set-protocol.ts';
import { takeRows } from './product-blocks.ts';
import type { Embeddings } from './scores.ts';

/** Classes of a map, and images of each. */
const [CLASSES, IMAGES] = [8, 8];

/** Classes with two images or more, drawn by seed, and images of each: the same for all models. */
export function mapImages(labels: Int32Array, rng: Rng): ReadonlyMap<number, readonly number[]> {
  const positions = positionsByClass(labels);
  const drawn = rng.split('classes').sample(
    [...positions].flatMap(([label, { length }]) => (length > 1 ? [label] : [])),
    CLASSES,
  );
  const images = rng.split('images');
  return new Map(
    drawn
      .sort((a, b) => a - b)
      .map((label) => [label, images.sample(positions.get(label)!, IMAGES).sort((a, b) => a - b)]),
  );
}

/**
 * Projects the embeddings of images by both models to the plane of their first two principal components: the linear projection that
 * keeps most of their variance. `positions` [N] of images in the dataset; absent: the images are all of it.
 */
export function embeddingMap(
  query: Embeddings,
  gallery: Embeddings,
  images: ReadonlyMap<number, readonly number[]>,
  positions?: Int32Array,
): EmbeddingMap {
  const all = [...images.values()].flat();
  const { points, explained } = firstComponents(
    [gallery, query].map(({ rows, dim }) => takeRows(rows, all, dim)),
    query.dim,
  );
  let at = 0;
  const take = (count: number): MapPoint[] => points.slice(at, at + count);
  return {
    explained,
    classes: [...images].map(([label, of]) => {
      const gallery = take(of.length);
      at += all.length;
      const query = take(of.length);
      at += of.length - all.length;
      return { label, images: of.map((i) => positions?.[i] ?? i), gallery, query };
    }),
  };
}

/** Digits of a coordinate: a thousandth of the radius of the sphere of embeddings. */
const round = (x: number): number => Math.round(1000 * x) / 1000;

/** Rows [K · D] of several sets in the plane of their first two principal components, in which the point farthest from the middle is positive. */
export function firstComponents(
  sets: readonly Float32Array[],
  dim: number,
): { readonly points: MapPoint[]; readonly explained: number } {
  const rows = new Float64Array(sets.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const set of sets) {
    rows.set(set, at);
    at += set.length;
  }
  const count = rows.length / dim;
  for (let d = 0; d < dim; d++) {
    let mean = 0;
    for (let i = d; i < rows.length; i += dim) mean += rows[i]! / count;
    for (let i = d; i < rows.length; i += dim) rows[i]! -= mean;
  }
  const { u, s } = scope(() => {
    const [u, s] = svd(share(rows, { shape: [count, dim] }));
    return { u: toFloat64(u), s: toFloat64(s) };
  });
  const stride = s.length;
  const component = (k: number): Float64Array => {
    const values = Float64Array.from({ length: count }, (_, i) => (k < stride ? u[i * stride + k]! * s[k]! : 0));
    const farthest = values.reduce((most, x) => (Math.abs(x) > Math.abs(most) + 1e-9 ? x : most), 0);
    return farthest < 0 ? values.map((x) => -x) : values;
  };
  const [x, y] = [component(0), component(1)];
  const variance = (values: Float64Array): number => values.reduce((sum, value) => sum + value ** 2, 0);
  const total = variance(s);
  return {
    points: Array.from(x, (value, i) => [round(value), round(y[i]!)] as const),
    explained: total > 0 ? (variance(x) + variance(y)) / total : 1,
  };
}
