// Own operators are given sizes that do not fit, or nothing at all: an error or an empty result, no process that ends.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  batchNorm,
  contiguous,
  conv3x3,
  countImpostors_,
  markNearest,
  pack,
  packedConv,
  packedLinear,
  packRows,
  productsWithRows_,
  tensor,
  toFloat32,
  toUint8,
  unitSquares,
  zeros,
} from './index.ts';
import { packedLanes } from './packed.ts';

const NONE = packedLanes() > 0 ? false : 'no inner loops for this processor';
const float64 = (...sizes: number[]) => zeros(sizes, { dtype: 'float64' });

test('packed products of no rows are empty; weights of other columns, strides and sides of 0 are refused', {
  skip: NONE,
}, () => {
  const finish = { columns: 64, bias: zeros([64]), slope: zeros([0]) };
  const [weights, none] = [pack(zeros([32, 64])), zeros([0])];
  assert.deepEqual(packedLinear(zeros([0, 32]), weights, finish, none).shape, [0, 64]);
  assert.throws(() => packedLinear(zeros([2, 32]), pack(zeros([32, 32])), finish, none), /packed for 64 columns/);
  assert.throws(() => packedLinear(zeros([2, 3, 32]), weights, finish, none), /x \[R, C\]/);
  const x = contiguous(zeros([1, 32, 4, 4]), 'channels_last');
  for (const geometry of [
    { side: 1, stride: 0, padding: 0 },
    { side: 0, stride: 1, padding: 0 },
    { side: 1, stride: 1, padding: -1 },
  ])
    assert.throws(() => packedConv(x, weights, geometry, finish, none), /a side and a stride from 1 on/);
});

test('a kernel that is not 3×3 is refused where tiles would compute it', { skip: NONE }, () => {
  const x = contiguous(zeros([1, 64, 8, 8]), 'channels_last');
  for (const side of [1, 5])
    assert.throws(() => conv3x3(x, zeros([64, 64, side, side])), /wanted weights \[K, 64, 3, 3\]/);
  assert.throws(() => conv3x3(x, zeros([64, 128, 3, 3])), /wanted weights \[K, 64, 3, 3\]/);
});

test('running statistics of another size are refused', () => {
  const x = contiguous(zeros([2, 64, 9, 9]), 'channels_last');
  const state = { weight: zeros([64]), bias: zeros([64]), runningMean: zeros([1]), runningVar: zeros([64]) };
  assert.throws(() => batchNorm(x, state, { training: true, slope: zeros([64]) }), /running_mean/);
});

test('a table of genuine scores that points beyond them is refused', () => {
  const count = (first: number[]) =>
    countImpostors_(
      float64(2),
      tensor(Int32Array.from(first)),
      float64(1),
      tensor(Uint8Array.of(0)),
      float64(3),
      float64(2),
    );
  assert.equal(count([0, 1, 2]), 1);
  for (const first of [[0, 2 ** 30], [0], [-1, 2], [2, 1]]) assert.throws(() => count(first), /first: wanted numbers/);
});

test('rows without dimensions are refused, products of them are 0', () => {
  assert.throws(() => unitSquares(zeros([3, 0])), /rows of one dimension and more/);
  const into = tensor(Float32Array.of(1, 2, 3, 4), { shape: [2, 2] });
  productsWithRows_(into, zeros([2, 0]), packRows(zeros([2, 0])));
  assert.deepEqual(Array.from(toFloat32(into)), [0, 0, 0, 0]);
});

test('a row that is no number leaves its class as many marks as it is to have', () => {
  const x = tensor(Float32Array.of(1, 0, 0, 1, Number.NaN, 0, 1, 0), { shape: [4, 2] });
  const marks = (keep: number) =>
    Array.from(toUint8(markNearest(x, tensor(Int32Array.of(0, 3, 4)), tensor(Float64Array.of(1, 1)), keep)));
  assert.deepEqual(marks(1), [1, 1, 1, 1]);
  assert.deepEqual(marks(0.5), [1, 1, 0, 1]);
});
