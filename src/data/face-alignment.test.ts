import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gap } from '../../test/helpers/formula.ts';
import { Rng } from '../base/rng.ts';
import { mirrorInto } from './augment.ts';
import {
  alignmentTransform,
  composeTransforms,
  FIVE_POINTS,
  invertTransform,
  similarityTransform,
} from './face-alignment.ts';
import { nativeImage } from './native-image.ts';

const SIDE = 112;
const landmarks = [46.06, 62.026, 87.785, 60.323, 68.851, 77.656, 52.162, 99.875, 86.45, 98.648];
/** The golden matrix was computed in single precision, whose steps are 8e-6 between coordinates of 64 and 128. */
const SINGLE = 8e-6;
/** The golden pixels come from a warp on a grid of 1/32 pixels; this picture's slopes are under 2 levels a pixel. */
const GREY_LEVELS = 1;
/** Roundings that differ do so both ways: ours are equal, one pixel in a hundred may fall the other way elsewhere. */
const SUM_OF_LEVELS = 0.01 * SIDE * SIDE;
const EXACT = 1e-9;

function aligned(
  picture: Uint8Array,
  { height, width, side = SIDE }: { height: number; width: number; side?: number },
): Uint8Array {
  const target = new Uint8Array(side * side * 3);
  nativeImage.warpAffine(picture, height, width, alignmentTransform(landmarks, side), target, 0, side);
  return target;
}

/** RGB of the picture of methods.md 8.14, which is told there in the order blue, green, red. */
function slopes(): { picture: Uint8Array; height: number; width: number } {
  const [height, width] = [140, 130];
  const picture = Uint8Array.from({ length: height * width * 3 }, (_, i) => {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    return [0.9 * (x + y), 1.7 * y, 1.5 * x][i % 3]! % 256;
  });
  return { picture, height, width };
}

test('five landmarks give the matrix of methods.md 8.14', () => {
  const matrix = similarityTransform(landmarks, FIVE_POINTS);
  assert.ok(gap(matrix, [0.95337176, -0.04424346, -5.5260659, 0.04424346, 0.95337176, -7.10842204]) < SINGLE);
  assert.ok(Math.abs(Math.hypot(matrix[0]!, matrix[3]!) - 0.9543978206) < SINGLE);
  // the same by singular values in double precision, printed with ten decimals
  const double = [0.9533717794, -0.0442435428, -5.5260641328, 0.0442435428, 0.9533717794, -7.1084247236];
  assert.ok(gap(matrix, double) < 1e-10, String(matrix));
});

test('the aligned picture is that of methods.md 8.14', () => {
  const { picture, ...size } = slopes();
  const result = aligned(picture, size);
  const pixel = (row: number, column: number): Uint8Array => result.subarray((row * SIDE + column) * 3).subarray(0, 3);
  for (const [row, column, rgb] of [
    [0, 0, [11, 11, 9]],
    [56, 56, [117, 107, 101]],
    [111, 111, [221, 200, 191]],
    [10, 100, [111, 22, 167]],
  ] as const)
    assert.ok(gap(pixel(row, column), rgb) <= GREY_LEVELS, `${row}, ${column}: ${pixel(row, column)}`);
  for (const [channel, sum] of [1456109, 1328534, 1255922].entries()) {
    const ours = result.reduce((total, value, i) => (i % 3 === channel ? total + value : total), 0);
    assert.ok(Math.abs(ours - sum) <= SUM_OF_LEVELS, `channel ${channel}: ${ours} for ${sum}`);
  }
});

test('no other similarityTransform is closer, on random points', () => {
  const rng = new Rng('similarityTransform');
  const draw = (): number[] => Array.from({ length: 10 }, () => 100 * rng.uniform());
  for (let round = 0; round < 200; round++) {
    const [from, to] = [draw(), draw()];
    const slow = leastSquares(from, to);
    assert.ok(gap(similarityTransform(from, to), slow) < EXACT, `${similarityTransform(from, to)} for ${slow}`);
  }
});

/** The normal equations of x' = a x - b y + c, y' = b x + a y + d, solved by elimination. */
function leastSquares(from: readonly number[], to: readonly number[]): number[] {
  const rows: number[][] = [];
  for (let i = 0; i < from.length; i += 2)
    rows.push([from[i]!, -from[i + 1]!, 1, 0, to[i]!], [from[i + 1]!, from[i]!, 0, 1, to[i + 1]!]);
  const system = [0, 1, 2, 3].map((r) =>
    [0, 1, 2, 3, 4].map((c) => rows.reduce((sum, row) => sum + row[r]! * row[c]!, 0)),
  );
  for (let pivot = 0; pivot < 4; pivot++)
    for (let r = 0; r < 4; r++) {
      if (r === pivot) continue;
      const factor = system[r]![pivot]! / system[pivot]![pivot]!;
      for (let c = 0; c < 5; c++) system[r]![c]! -= factor * system[pivot]![c]!;
    }
  const [a, b, c, d] = system.map((row, r) => row[4]! / row[r]!) as [number, number, number, number];
  return [a, -b, c, b, a, d];
}

const mapped = (m: ArrayLike<number>, points: ArrayLike<number>): number[] =>
  Array.from({ length: points.length }, (_, i) => {
    const [x, y] = [points[i - (i % 2)]!, points[i - (i % 2) + 1]!];
    return i % 2 === 0 ? m[0]! * x + m[1]! * y + m[2]! : m[3]! * x + m[4]! * y + m[5]!;
  });

test('a turned, resized and moved template is found where it lies, for every side', () => {
  const rng = new Rng('faces');
  for (const side of [112, 32, 224]) {
    const [angle, scale] = [6 * rng.uniform(), 0.3 + 3 * rng.uniform()];
    const [a, b] = [scale * Math.cos(angle), scale * Math.sin(angle)];
    const place = Float64Array.of(a, -b, 40 * rng.uniform(), b, a, 40 * rng.uniform());
    const template = FIVE_POINTS.map((v) => (v * side) / 112);
    assert.ok(gap(alignmentTransform(mapped(place, template), side), place) < 1e-8);
    assert.ok(gap(composeTransforms(place, invertTransform(place)), [1, 0, 0, 0, 1, 0]) < EXACT);
    const twice = mapped(place, mapped(invertTransform(place), landmarks));
    assert.ok(gap(twice, landmarks) < EXACT);
  }
  const [first, then] = [Float64Array.of(1, 2, 3, 4, 5, 6), Float64Array.of(0, -1, 2, 1, 0, 5)];
  assert.ok(gap(mapped(composeTransforms(first, then), landmarks), mapped(then, mapped(first, landmarks))) < EXACT);
});

test('a mirrored face is turned, not reflected', () => {
  const mirrored = landmarks.map((v, i) => (i % 2 === 0 ? 130 - v : v));
  const m = similarityTransform(mirrored, FIVE_POINTS);
  assert.ok(m[0]! * m[4]! - m[1]! * m[3]! > 0);
});

test('landmarks that are no face are refused', () => {
  assert.throws(() => similarityTransform(new Array(10).fill(7), FIVE_POINTS), /landmarks lie on one point/);
  assert.throws(() => similarityTransform(landmarks, new Array(10).fill(7)), /landmarks lie on one point/);
  assert.throws(() => similarityTransform([...landmarks.slice(0, 9), Number.NaN], FIVE_POINTS), /landmarks/);
});

test('outside of the picture is black, grey stays grey, and the mirrored copy is exact', () => {
  const [height, width] = [90, 100];
  const white = aligned(new Uint8Array(height * width * 3).fill(200), { height, width });
  const inverse = alignmentTransform(landmarks, SIDE);
  for (let i = 0; i < SIDE * SIDE; i++) {
    const [x, y] = mapped(inverse, [i % SIDE, Math.floor(i / SIDE)]) as [number, number];
    const inside = x >= 0 && y >= 0 && x <= width - 1 && y <= height - 1;
    const outside = x <= -1 || y <= -1 || x >= width || y >= height;
    const [r, g, b] = white.subarray(3 * i, 3 * i + 3);
    assert.ok(r === g && g === b);
    if (inside) assert.equal(r, 200);
    if (outside) assert.equal(r, 0);
  }
  const { picture, ...size } = slopes();
  const plain = aligned(picture, size);
  const mirrored = new Uint8Array(plain.length);
  mirrorInto(plain, mirrored, 0, SIDE);
  const warped = new Uint8Array(plain.length);
  const mirror = Float64Array.of(-1, 0, SIDE - 1, 0, 1, 0);
  nativeImage.warpAffine(
    picture,
    size.height,
    size.width,
    composeTransforms(mirror, alignmentTransform(landmarks, SIDE)),
    warped,
    0,
    SIDE,
  );
  assert.ok(gap(warped, mirrored) <= 1, 'one resampling through both, but for the rounding of halves');
});
