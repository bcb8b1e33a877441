import type { Rng } from '../base/rng.ts';
import { nativeImage } from './native-image.ts';

/** Random changes of a training image; see the recipe's `augment` section. */
export type Augmentation = {
  /** Mirror half of the images. */
  readonly flip: boolean;
  /** Turn by up to ± this, in degrees. */
  readonly rotateDeg: number;
  /** Size times 1 ± this. */
  readonly scale: number;
  /** Move by up to ± this share of the side, in each direction. */
  readonly shift: number;
};

/** One random transform. `matrix` maps a pixel of the result to its place in the picture; null: no resampling. */
export type ImageTransform = { readonly mirror: boolean; readonly matrix: Float64Array | null };

/** Samples a transform uniformly within the limits. Equal streams give equal transforms in every thread. */
export function sampleTransform(
  { flip, rotateDeg, scale, shift }: Augmentation,
  rng: Rng,
  side: number,
): ImageTransform {
  const within = (limit: number): number => (2 * rng.uniform() - 1) * limit;
  const mirror = flip && rng.uniform() < 0.5;
  if (rotateDeg === 0 && scale === 0 && shift === 0) return { mirror, matrix: null };
  const angle = (within(rotateDeg) * Math.PI) / 180;
  const factor = 1 / (1 + within(scale));
  const [dx, dy] = [within(shift) * side, within(shift) * side];
  return { mirror, matrix: inverseAffine({ angle, factor, dx, dy, mirror, side }) };
}

type Affine = {
  readonly angle: number;
  readonly factor: number;
  readonly dx: number;
  readonly dy: number;
  readonly mirror: boolean;
  readonly side: number;
};

/** Undoes: mirror, turn and resize about the centre, then move by (dx, dy). */
function inverseAffine({ angle, factor, dx, dy, mirror, side }: Affine): Float64Array {
  const centre = (side - 1) / 2;
  const [cos, sin] = [Math.cos(angle) * factor, Math.sin(angle) * factor];
  const sign = mirror ? -1 : 1;
  const [px, py] = [centre + dx, centre + dy];
  return Float64Array.of(
    sign * cos, sign * sin, centre - sign * (cos * px + sin * py),
    -sin, cos, centre + sin * px - cos * py,
  ); // biome-ignore format: a matrix
}

/** A transform as a matrix, for a picture that is resampled anyway. */
export const transformMatrix = ({ mirror, matrix }: ImageTransform, side: number): Float64Array =>
  matrix ?? Float64Array.of(mirror ? -1 : 1, 0, mirror ? side - 1 : 0, 0, 1, 0);

/** Writes the transformed `picture` [side, side, 3] to `target` at `offset`. */
export function applyTransform(
  picture: Uint8Array,
  { mirror, matrix }: ImageTransform,
  target: Uint8Array,
  offset: number,
  side: number,
): void {
  if (matrix) nativeImage.warpAffine(picture, side, side, matrix, target, offset, side);
  else if (mirror) mirrorInto(picture, target, offset, side);
  else target.set(picture, offset);
}

/** Mirrors a picture left to right, without resampling. */
export function mirrorInto(picture: Uint8Array, target: Uint8Array, offset: number, side: number): void {
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const [from, to] = [(y * side + x) * 3, offset + (y * side + side - 1 - x) * 3];
      target[to] = picture[from]!;
      target[to + 1] = picture[from + 1]!;
      target[to + 2] = picture[from + 2]!;
    }
}
