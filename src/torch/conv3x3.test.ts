// The 3×3 convolution with tiles against ATen's in double precision: values, both gradients, and where it stays ATen's.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as torch from './index.ts';
import {
  autocast,
  conv2d,
  conv3x3,
  generator,
  gradients,
  noGrad,
  requireGrad,
  scope,
  setThreads,
  type Tensor,
  toFloat64,
} from './index.ts';

before(() => setThreads(1));

/** Sums of some hundred products of order 1 by tiles, in single precision, whose transforms lose a digit; their value is of order 30. */
const TILES = 1e-3;
/** The gradient by the weights, by tiles too from this side of a map on, sums over all pixels. */
const PIXELS = 1e-3;
const SIDE_OF_WEIGHTS = 9;

const drawn = (shape: readonly number[], seed: number): Tensor =>
  torch.fillUniform(torch.zeros(shape), generator(seed), -1, 1);
const image = (shape: readonly number[], seed: number): Tensor => torch.contiguous(drawn(shape, seed), 'channels_last');
const double = (x: Tensor): Tensor => torch.to(x, { dtype: 'float64' });
const apart = (a: Tensor, b: Tensor): number => {
  const [x, y] = [toFloat64(double(a)), toFloat64(double(b))];
  return x.reduce((worst, value, i) => Math.max(worst, Math.abs(value - y[i]!)), 0);
};
const same = { stride: 1, padding: 1, groups: 1 };

/** Values and gradients of a sum of products with fixed numbers. */
function passes(x: Tensor, weight: Tensor, of: (x: Tensor, weight: Tensor) => Tensor, dtype: 'float32' | 'float64') {
  const [a, b] = [x, weight].map((value) => requireGrad(torch.to(value, { dtype }))) as [Tensor, Tensor];
  const y = of(a, b);
  const loss = torch.sum(torch.mul(y, torch.to(image(y.shape, 5), { dtype })));
  const [byImages, byWeights] = gradients(loss, [a, b]) as [Tensor, Tensor];
  return { y, byImages, byWeights };
}

test('values and gradients equal those in double precision, whatever sides tiles divide', () => {
  for (const [inputs, outputs, height, width] of [
    [64, 64, 7, 7],
    [64, 128, 9, 14],
    [80, 64, 17, 12],
    [128, 80, 8, 8],
  ] as const)
    scope(() => {
      const [x, weight] = [image([3, inputs, height, width], 1), drawn([outputs, inputs, 3, 3], 2)];
      const ours = passes(x, weight, conv3x3, 'float32');
      const exact = passes(x, weight, (a, b) => conv2d(a, b, null, same), 'float64');
      assert.ok(apart(ours.y, exact.y) < TILES);
      assert.ok(apart(ours.byImages, exact.byImages) < TILES);
      assert.ok(apart(ours.byWeights, exact.byWeights) < PIXELS);
      setThreads(3);
      const again = passes(x, weight, conv3x3, 'float32');
      setThreads(1);
      for (const part of ['y', 'byImages'] as const) assert.equal(apart(again[part], ours[part]), 0, part);
      if (Math.min(height, width) >= SIDE_OF_WEIGHTS) assert.equal(apart(again.byWeights, ours.byWeights), 0);
    });
});

test('narrow and small maps, other types and half precision stay ATen’s, to the byte', () => {
  const plain = (x: Tensor, weight: Tensor): Tensor => conv2d(x, weight, null, same);
  scope(() => {
    for (const [inputs, side] of [
      [32, 16],
      [64, 4],
    ] as const) {
      const [x, weight] = [image([2, inputs, side, side], 1), drawn([64, inputs, 3, 3], 2)];
      assert.equal(
        apart(
          noGrad(() => conv3x3(x, weight)),
          noGrad(() => plain(x, weight)),
        ),
        0,
      );
    }
    const [x, weight] = [image([2, 64, 8, 8], 1), drawn([64, 64, 3, 3], 2)];
    const half = noGrad(() => autocast(() => conv3x3(x, weight), { device: 'cpu', dtype: 'bfloat16' }));
    assert.equal(half.dtype, 'bfloat16');
    assert.equal(
      apart(
        noGrad(() => conv3x3(double(x), double(weight))),
        noGrad(() => plain(double(x), double(weight))),
      ),
      0,
    );
  });
});

test('of what is frozen no gradient is made', () => {
  scope(() => {
    const [x, weight] = [image([2, 64, 8, 8], 1), requireGrad(drawn([64, 64, 3, 3], 2))];
    const [byWeights] = gradients(torch.sum(conv3x3(x, weight)), [weight]);
    assert.ok(toFloat64(double(byWeights!)).some((value) => value !== 0));
  });
});
