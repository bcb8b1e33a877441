import type { PathCommand } from 'fontkit';

/** A closed outline's points in font units, y upwards: x0, y0, x1, y1, … */
type Contour = number[];

/** The em square is this share of the image. */
const EM_SHARE = 0.9;
/** Straight pieces a curve is cut into: at 112 pixels the error is below a hundredth of a pixel. */
const PIECES = 8;

/**
 * Draws a glyph white on black, [side, side] grey, with exact coverage of every pixel: the em scaled to 0.9 of the side, the
 * glyph centred by the box of its outline. null if the outline is empty.
 */
export function rasterise(commands: readonly PathCommand[], unitsPerEm: number, side: number): Uint8Array | null {
  const contours = flatten(commands);
  let [left, right, bottom, top] = [
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  ];
  for (const points of contours)
    for (let i = 0; i < points.length; i += 2) {
      left = Math.min(left, points[i]!);
      right = Math.max(right, points[i]!);
      bottom = Math.min(bottom, points[i + 1]!);
      top = Math.max(top, points[i + 1]!);
    }
  if (!(right > left && top > bottom)) return null;
  const scale = (EM_SHARE * side) / unitsPerEm;
  const toX = (x: number): number => side / 2 + (x - (left + right) / 2) * scale;
  const toY = (y: number): number => side / 2 - (y - (bottom + top) / 2) * scale;
  const area = new Float64Array(side * (side + 1));
  for (const points of contours)
    for (let i = 0; i < points.length; i += 2) {
      const j = (i + 2) % points.length;
      addEdge(area, side, toX(points[i]!), toY(points[i + 1]!), toX(points[j]!), toY(points[j + 1]!));
    }
  return covered(area, side);
}

/** Curves cut to straight pieces. */
function flatten(commands: readonly PathCommand[]): Contour[] {
  const contours: Contour[] = [];
  let current: Contour = [];
  let [x, y] = [0, 0];
  for (const { command, args } of commands) {
    if (command === 'closePath') continue;
    if (command === 'moveTo') {
      current = [];
      contours.push(current);
    }
    for (let piece = 1; command !== 'moveTo' && command !== 'lineTo' && piece < PIECES; piece++)
      current.push(...along([x, y, ...args], piece / PIECES));
    [x, y] = args.slice(-2) as [number, number];
    current.push(x, y);
  }
  return contours;
}

/** The point at `t` of a Bézier curve with control points x0, y0, x1, y1, …: de Casteljau. */
function along(points: readonly number[], t: number): number[] {
  let left = points;
  while (left.length > 2) {
    const next: number[] = [];
    for (let i = 0; i + 2 < left.length; i++) next.push(left[i]! + (left[i + 2]! - left[i]!) * t);
    left = next;
  }
  return left as number[];
}

/**
 * Adds an edge's signed area to the cells it passes: `area` [side, side + 1] holds, for each pixel, by how much coverage
 * changes there against the pixel on its left, so that running sums along rows give the coverage.
 */
function addEdge(area: Float64Array, side: number, x0: number, y0: number, x1: number, y1: number): void {
  if (y0 === y1) return;
  const direction = y0 < y1 ? 1 : -1;
  const [topX, topY, bottomX, bottomY] = y0 < y1 ? [x0, y0, x1, y1] : [x1, y1, x0, y0];
  const slope = (bottomX - topX) / (bottomY - topY);
  const from = Math.max(topY, 0);
  const to = Math.min(bottomY, side);
  for (let row = Math.floor(from); row < to; row++) {
    const [a, b] = [Math.max(from, row), Math.min(to, row + 1)];
    if (b <= a) continue;
    addSpan(area, row * (side + 1), side, topX + (a - topY) * slope, topX + (b - topY) * slope, (b - a) * direction);
  }
}

const limit = (x: number, most: number): number => Math.min(Math.max(x, 0), most);

/** One row's piece of an edge, from xa to xb, covering `height` (signed) of the row. */
function addSpan(area: Float64Array, row: number, side: number, xa: number, xb: number, height: number): void {
  const [x0, x1] = [limit(Math.min(xa, xb), side), limit(Math.max(xa, xb), side)];
  const [first, last] = [Math.floor(x0), Math.floor(x1)];
  if (first === last || x1 === x0) {
    const right = (x0 + x1) / 2 - first; // share of the cell left of the edge
    area[row + first]! += height * (1 - right);
    if (first < side) area[row + first + 1]! += height * right;
    return;
  }
  let done = 0; // coverage this piece has given to the cells so far
  for (let cell = first; cell <= Math.min(last, side); cell++) {
    const until = coverageUpTo(cell + 1, x0, x1) * height;
    area[row + cell]! += until - done;
    done = until;
  }
  if (last < side) area[row + last + 1]! += height - done;
}

/** Mean coverage of the unit cell that ends at `x` by what lies right of an edge running evenly from x0 to x1. */
function coverageUpTo(x: number, x0: number, x1: number): number {
  const integral = (at: number): number =>
    at <= x0 ? 0 : at >= x1 ? (x1 - x0) / 2 + (at - x1) : (at - x0) ** 2 / (2 * (x1 - x0));
  return integral(x) - integral(x - 1);
}

function covered(area: Float64Array, side: number): Uint8Array {
  const pixels = new Uint8Array(side * side);
  for (let y = 0; y < side; y++) {
    let sum = 0;
    for (let x = 0; x < side; x++) {
      sum += area[y * (side + 1) + x]!;
      pixels[y * side + x] = Math.round(255 * Math.min(Math.abs(sum), 1));
    }
  }
  return pixels;
}
