import { UserError } from '../base/errors.ts';

// Points are flat: x0, y0, x1, y1, … in pixels, pixel centres at whole numbers. A matrix [6] holds two rows: x' = m0 x + m1 y + m2.

/** Template landmarks in a picture of 112 × 112: eyes, tip of the nose, corners of the mouth (methods.md 6.3). */
export const FIVE_POINTS: readonly number[] = [
  38.2946, 51.6963, 73.5318, 51.5014, 56.0252, 71.7366, 41.5493, 92.3655, 70.729904, 92.2041,
];
const TEMPLATE_SIDE = 112;

/** A similarity with a smaller scale, or points closer to each other in pixels, is an error in the landmarks. */
const LEAST = 1e-3;

/**
 * The turn, size and move, without reflection, that bring `from` closest to `to` in least squares: Umeyama's method, which
 * in a plane needs no singular values, because the best rotation is the direction of a sum of complex products.
 * @throws UserError if the points of `from` lie on one point, or no direction is better than another.
 * Source: Umeyama 1991, equations 40 to 42; methods.md 6.3.
 */
export function similarityTransform(from: ArrayLike<number>, to: ArrayLike<number>): Float64Array {
  const count = from.length / 2;
  let [fromX, fromY, toX, toY] = [0, 0, 0, 0];
  for (let i = 0; i < from.length; i += 2) {
    fromX += from[i]! / count;
    fromY += from[i + 1]! / count;
    toX += to[i]! / count;
    toY += to[i + 1]! / count;
  }
  let [along, across, spread] = [0, 0, 0];
  for (let i = 0; i < from.length; i += 2) {
    const [x, y, u, v] = [from[i]! - fromX, from[i + 1]! - fromY, to[i]! - toX, to[i + 1]! - toY];
    along += x * u + y * v;
    across += x * v - y * u;
    spread += x * x + y * y;
  }
  const [a, b] = [along / spread, across / spread];
  if (!(spread / count >= LEAST ** 2 && Math.hypot(a, b) >= LEAST))
    throw new UserError('the landmarks lie on one point, or not in the order of a face');
  return Float64Array.of(a, -b, toX - a * fromX + b * fromY, b, a, toY - b * fromX - a * fromY);
}

/** The inverse matrix. */
export function invertTransform(m: ArrayLike<number>): Float64Array {
  const [a, b, c, d, e, f] = m as unknown as [number, number, number, number, number, number];
  const det = a * e - b * d;
  return Float64Array.of(
    e / det, -b / det, (b * f - e * c) / det,
    -d / det, a / det, (d * c - a * f) / det,
  ); // biome-ignore format: a matrix
}

/** The matrix of `first` followed by `then`. */
export function composeTransforms(first: ArrayLike<number>, then: ArrayLike<number>): Float64Array {
  const row = (a: number, b: number, c: number): number[] => [
    a * first[0]! + b * first[3]!,
    a * first[1]! + b * first[4]!,
    a * first[2]! + b * first[5]! + c,
  ];
  return Float64Array.of(...row(then[0]!, then[1]!, then[2]!), ...row(then[3]!, then[4]!, then[5]!));
}

/**
 * Where the pixels of an aligned picture [side, side] lie in the one whose `landmarks` [10] are given: what `warpAffine`
 * wants. @throws UserError if the landmarks are degenerate.
 */
export function alignmentTransform(landmarks: ArrayLike<number>, side: number): Float64Array {
  const template = FIVE_POINTS.map((v) => (v * side) / TEMPLATE_SIDE);
  return invertTransform(similarityTransform(landmarks, template));
}
