import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PathCommand } from 'fontkit';
import { jisLevel1, jisLevel2 } from './jis.ts';
import { rasterise } from './raster.ts';

/** A byte of coverage: the slow twin samples 32 × 32 points of each pixel. */
const COVERAGE_TOLERANCE = 5;
const SAMPLES = 32;

const line = (...points: (readonly [number, number])[]): PathCommand[] => [
  { command: 'moveTo', args: points[0]! },
  ...points.slice(1).map((args) => ({ command: 'lineTo', args }) as const),
  { command: 'closePath', args: [] },
];

test('a square covers just its pixels, halves of others', () => {
  // em 100 → 0.9 · 20 = 18 pixels; a box of 50 × 50 units is 9 × 9 pixels around the centre, 5.5 … 14.5
  const pixels = rasterise(line([0, 0], [50, 0], [50, 50], [0, 50]), 100, 20)!;
  const at = (x: number, y: number): number => pixels[y * 20 + x]!;
  assert.deepEqual([at(4, 10), at(5, 10), at(6, 10), at(13, 10), at(14, 10), at(15, 10)], [0, 128, 255, 255, 128, 0]);
  assert.equal(at(5, 5), 64);
  assert.equal(rasterise([], 100, 20), null);
});

test('slanted outlines with a hole equal sampling by the winding rule', () => {
  const side = 24;
  const outer = [
    [10, 5],
    [93, 30],
    [70, 88],
    [15, 95],
  ] as const;
  const inner = [
    [35, 35],
    [40, 70],
    [65, 60],
    [60, 38],
  ] as const; // the other way round: a hole
  const pixels = rasterise([...line(...outer), ...line(...inner)], 100, side)!;
  const scale = (0.9 * side) / 100;
  const toPixel = ([x, y]: readonly [number, number]): [number, number] => [
    side / 2 + (x - 51.5) * scale,
    side / 2 - (y - 50) * scale,
  ];
  const contours = [outer.map(toPixel), inner.map(toPixel)];
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      let inside = 0;
      for (let i = 0; i < SAMPLES * SAMPLES; i++) {
        const point = [x + ((i % SAMPLES) + 0.5) / SAMPLES, y + (Math.floor(i / SAMPLES) + 0.5) / SAMPLES] as const;
        if (contours.reduce((sum, contour) => sum + winding(contour, point), 0) !== 0) inside++;
      }
      const expected = (255 * inside) / SAMPLES ** 2;
      assert.ok(
        Math.abs(pixels[y * side + x]! - expected) <= COVERAGE_TOLERANCE,
        `(${x}, ${y}): ${pixels[y * side + x]} for ${expected}`,
      );
    }
});

function winding(contour: readonly (readonly [number, number])[], [px, py]: readonly [number, number]): number {
  let count = 0;
  for (const [i, [x0, y0]] of contour.entries()) {
    const [x1, y1] = contour[(i + 1) % contour.length]!;
    if (y0 <= py === y1 <= py) continue;
    if (x0 + ((py - y0) / (y1 - y0)) * (x1 - x0) < px) count += y1 > y0 ? 1 : -1;
  }
  return count;
}

test('a circle of curves has the area of a circle', () => {
  const k = 0.5522847498 * 40;
  const circle: PathCommand[] = [
    { command: 'moveTo', args: [40, 0] },
    { command: 'bezierCurveTo', args: [40, k, k, 40, 0, 40] },
    { command: 'bezierCurveTo', args: [-k, 40, -40, k, -40, 0] },
    { command: 'bezierCurveTo', args: [-40, -k, -k, -40, 0, -40] },
    { command: 'bezierCurveTo', args: [k, -40, 40, -k, 40, 0] },
    { command: 'closePath', args: [] },
  ];
  const pixels = rasterise(circle, 100, 64)!;
  const area = pixels.reduce((sum, p) => sum + p, 0) / 255;
  const expected = Math.PI * (40 * 0.64 * 0.9) ** 2;
  assert.ok(Math.abs(area / expected - 1) < 0.01, `${area} for ${expected}`);
});

test('JIS X 0208: 2,965 characters of level 1 and 3,390 of level 2', () => {
  assert.equal(jisLevel1().length, 2965);
  assert.equal(jisLevel2().length, 3390);
  assert.equal(String.fromCodePoint(jisLevel1()[0]!), '亜');
  assert.equal(new Set([...jisLevel1(), ...jisLevel2()]).size, 6355);
});
