import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gap } from '../../test/helpers/formula.ts';
import { unitRows } from '../../test/helpers/paired-rows.ts';
import { Rng } from '../base/rng.ts';
import { slerpRows } from './slerp.ts';

/** Rows are float32. */
const OF_FLOAT32 = 1e-6;
const DIM = 12;

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((total, value, d) => total + value * b[d]!, 0);
const angle = (a: Float32Array, b: Float32Array): number => Math.acos(Math.min(1, dot(a, b)));
const rowOf = (rows: Float32Array, i: number): Float32Array => rows.subarray(i * DIM, (i + 1) * DIM);
const scaled = (rows: Float32Array, by: number): Float32Array => rows.map((value) => value * by);

test('the ends are the rows themselves, at length 1, whatever their lengths', () => {
  const [a, b] = [unitRows(5, DIM, new Rng('a')), unitRows(5, DIM, new Rng('b'))];
  for (const [share, end] of [
    [0, a],
    [1, b],
  ] as const)
    assert.ok(gap(slerpRows(scaled(a, 0.25), scaled(b, 8), { share, dim: DIM }), end) < OF_FLOAT32);
  assert.deepEqual(
    slerpRows(scaled(a, 4), scaled(b, 4), { share: 0.3, dim: DIM }),
    slerpRows(a, b, { share: 0.3, dim: DIM }),
  );
});

test('the angle grows in proportion, in the plane of both rows', () => {
  const [a, b] = [unitRows(20, DIM, new Rng('a')), unitRows(20, DIM, new Rng('b'))];
  for (const share of [0.1, 0.5, 0.75]) {
    const blended = slerpRows(a, b, { share, dim: DIM });
    for (let i = 0; i < 20; i++) {
      const [from, to, at] = [rowOf(a, i), rowOf(b, i), rowOf(blended, i)];
      const whole = angle(from, to);
      assert.ok(Math.abs(angle(from, at) - share * whole) < OF_FLOAT32, 'part of the angle');
      assert.ok(Math.abs(angle(at, to) - (1 - share) * whole) < OF_FLOAT32, 'the rest of it: on the circle of both');
      assert.ok(Math.abs(dot(at, at) - 1) < OF_FLOAT32, 'length 1');
    }
  }
});

test('it is the rotation that is built step by step', () => {
  const [a, b] = [unitRows(20, DIM, new Rng('a')), unitRows(20, DIM, new Rng('b'))];
  // the direction across `from` in the plane of both, then a turn by a share of the angle
  const turned = (share: number): number[] =>
    Array.from({ length: 20 }, (_, i) => {
      const [from, to] = [Array.from(rowOf(a, i)), Array.from(rowOf(b, i))];
      const across = to.map((value, d) => value - dot(from, to) * from[d]!);
      const length = Math.sqrt(dot(across, across));
      const turn = share * Math.atan2(length, dot(from, to));
      return from.map((value, d) => Math.cos(turn) * value + (Math.sin(turn) * across[d]!) / length);
    }).flat();
  for (const share of [0, 0.2, 0.5, 0.9, 1])
    assert.ok(gap(slerpRows(a, b, { share, dim: DIM }), turned(share)) < OF_FLOAT32);
});

test('golden: halfway between two axes is their diagonal, a third of the way is 30 degrees', () => {
  const [a, b] = [Float32Array.of(1, 0), Float32Array.of(0, 1)];
  assert.ok(gap(slerpRows(a, b, { share: 0.5, dim: 2 }), [Math.SQRT1_2, Math.SQRT1_2]) < OF_FLOAT32);
  assert.ok(gap(slerpRows(a, b, { share: 1 / 3, dim: 2 }), [Math.sqrt(3) / 2, 0.5]) < OF_FLOAT32);
});

test('equal, nearly equal, opposite and zero rows have a defined result', () => {
  const a = unitRows(1, DIM, new Rng('a'));
  const at = (from: Float32Array, to: Float32Array, share: number) => slerpRows(from, to, { share, dim: DIM });
  const near = a.map((value, d) => value + (d === 0 ? 1e-4 : 0));
  const [away, none] = [scaled(a, -2), new Float32Array(DIM)];
  for (const share of [0, 0.3, 1]) {
    assert.ok(gap(at(a, a, share), a) < OF_FLOAT32);
    assert.ok(gap(at(a, near, share), a) < 1.1e-4 && angle(at(a, near, share), a) <= angle(near, a) + OF_FLOAT32);
    for (const [from, to] of [
      [a, none],
      [none, a],
    ] as const)
      assert.ok(gap(at(from, to, share), a) < OF_FLOAT32, 'the row that has a direction');
  }
  for (const [share, end] of [
    [0.5, a],
    [0.51, scaled(a, -1)],
  ] as const)
    assert.ok(gap(at(a, away, share), end) < OF_FLOAT32, 'of opposite rows the nearer one');
  assert.deepEqual(at(none, none, 0.5), none);
});
