// Batch norm with the PReLU behind it: our passes against ATen's operators in double precision, in bf16 and float32.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { aten } from './aten.ts';
import * as torch from './index.ts';
import {
  batchNorm,
  type Dtype,
  generator,
  gradients,
  requireGrad,
  scope,
  setThreads,
  type Tensor,
  toFloat64,
} from './index.ts';

before(() => setThreads(1));

/** Relative to the largest element: one rounding of the result in bf16, and sums of some hundred products in float32. */
const TOLERANCE = { bfloat16: 2 ** -8, float32: 2e-6 } as const;
/** Statistics, and gradients of what has one element for each channel, are float32 whatever the images are. */
const SUMS = 2e-6;

const drawn = (shape: readonly number[], seed: number, low = -1, high = 1): Tensor =>
  torch.fillUniform(torch.zeros(shape), generator(seed), low, high);
const double = (x: Tensor): Tensor => torch.to(x, { dtype: 'float64' });
/** The largest difference relative to the largest element; a NaN is infinitely far. */
const apart = (a: Tensor, b: Tensor): number => {
  const [x, y] = [toFloat64(double(a)), toFloat64(double(b))];
  const largest = y.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return x.reduce((worst, value, i) => {
    const far = Math.abs(value - y[i]!) / largest;
    return far <= worst ? worst : Number.isNaN(far) ? Number.POSITIVE_INFINITY : far;
  }, 0);
};

type Case = { readonly channels: number; readonly side: number; readonly slope: boolean; readonly dtype: Dtype };

/** Images whose mean is far from 0, channel by channel, as `dtype` has them. */
function imagesOf({ channels, side, dtype }: Case): Tensor {
  const images = torch.add(drawn([3, channels, side, side], 1), drawn([1, channels, 1, 1], 2, -5, 5));
  return torch.contiguous(torch.to(images, { dtype }), 'channels_last');
}

/** Value, gradients of its products with fixed numbers, and running statistics. */
function passes(from: Case, dtype: Dtype): Readonly<Record<string, Tensor>> {
  const { channels, slope } = from;
  const wide: Dtype = dtype === 'float64' ? 'float64' : 'float32';
  const leaf = (value: Tensor, as: Dtype): Tensor => requireGrad(torch.to(torch.clone(value), { dtype: as }));
  const x = leaf(imagesOf(from), dtype);
  const weight = leaf(drawn([channels], 3, 0.5, 1.5), wide);
  const bias = leaf(drawn([channels], 4), wide);
  const slopes = slope ? leaf(drawn([channels], 5, 0, 0.5), wide) : null;
  const runningMean = torch.to(drawn([channels], 6), { dtype: wide });
  const runningVar = torch.to(drawn([channels], 7, 1, 2), { dtype: wide });
  const y = batchNorm(x, { weight, bias, runningMean, runningVar }, { training: true, momentum: 0.3, slope: slopes });
  const probe = torch.contiguous(torch.to(drawn(x.shape, 8), { dtype: from.dtype }), 'channels_last');
  const loss = torch.sum(torch.mul(y, torch.to(probe, { dtype })));
  const learned = [x, weight, bias, ...(slopes ? [slopes] : [])];
  const [byX, byWeight, byBias, bySlope] = gradients(loss, learned) as Tensor[];
  const all = { y, byX: byX!, byWeight: byWeight!, byBias: byBias!, runningMean, runningVar };
  return bySlope ? { ...all, bySlope } : all;
}

const cases: readonly Case[] = [
  { channels: 64, side: 9, slope: true, dtype: 'float32' },
  { channels: 64, side: 9, slope: true, dtype: 'bfloat16' },
  { channels: 5, side: 3, slope: true, dtype: 'bfloat16' },
  { channels: 33, side: 8, slope: false, dtype: 'bfloat16' },
];

for (const each of cases)
  test(`values and gradients equal those in double precision: ${JSON.stringify(each)}`, () =>
    scope(() => {
      const { y, byX, ...ours } = passes(each, each.dtype);
      const exact = passes(each, 'float64');
      assert.equal(y!.dtype, each.dtype);
      const tolerance = TOLERANCE[each.dtype as keyof typeof TOLERANCE];
      for (const [name, value] of Object.entries({ y: y!, byX: byX! }))
        assert.ok(apart(value, exact[name]!) < tolerance, `${name}: ${apart(value, exact[name]!)}`);
      for (const [name, value] of Object.entries(ours)) {
        assert.equal(value.dtype, 'float32', name);
        assert.ok(apart(value, exact[name]!) < SUMS, `${name}: ${apart(value, exact[name]!)}`);
      }
    }));

test('as many threads as there are make the same bytes', () => {
  const of = (threads: number) =>
    scope(() => {
      setThreads(threads);
      const all = passes({ channels: 64, side: 20, slope: true, dtype: 'bfloat16' }, 'bfloat16');
      return Object.values(all).map((value) => toFloat64(double(value)));
    });
  const one = of(1);
  assert.deepEqual(of(3), one);
  setThreads(1);
});

test('an overflow shows in values and gradients', () =>
  scope(() => {
    const x = requireGrad(torch.contiguous(torch.to(drawn([2, 8, 4, 4], 1), { dtype: 'bfloat16' }), 'channels_last'));
    const [weight, bias, slope] = [torch.ones([8]), torch.zeros([8]), torch.full([8], 0.25)];
    const state = { weight, bias, runningMean: null, runningVar: null };
    const spoilt = torch.mul(batchNorm(x, state, { training: true, slope }), Number.NaN);
    const [byX] = gradients(torch.sum(spoilt), [x]) as [Tensor];
    assert.ok(toFloat64(double(byX)).every(Number.isNaN));
    const y = batchNorm(torch.mul(x, Number.POSITIVE_INFINITY), state, { training: true, slope });
    assert.ok(toFloat64(double(y)).every(Number.isNaN));
  }));

test('narrow and small maps in float32, and those without a slope, stay ATen’s, to the byte', () =>
  scope(() => {
    for (const [channels, side, slope] of [
      [32, 9, 0.25],
      [64, 4, 0.25],
      [64, 9, null],
    ] as const) {
      const x = imagesOf({ channels, side, slope: true, dtype: 'float32' });
      const state = {
        weight: torch.ones([channels]),
        bias: torch.zeros([channels]),
        runningMean: null,
        runningVar: null,
      };
      const slopes = slope === null ? null : torch.full([channels], slope);
      const ours = batchNorm(x, state, { training: true, slope: slopes });
      const plain = aten.batch_norm(x, state.weight, state.bias, null, null, true, 0.1, 1e-5, false);
      assert.ok(torch.equal(ours, slopes ? torch.prelu(plain, slopes) : plain), `${channels} channels, side ${side}`);
    }
  }));

test('PReLU alone in bf16 has the gradients of double precision', () =>
  scope(() => {
    const [x, slope] = [imagesOf({ channels: 20, side: 9, slope: true, dtype: 'bfloat16' }), drawn([20], 5, 0, 0.5)];
    const probe = torch.contiguous(torch.to(drawn(x.shape, 8), { dtype: 'bfloat16' }), 'channels_last');
    // forward it multiplies with the slope in bf16, as ATen does
    const half = torch.to(slope, { dtype: 'bfloat16' });
    const of = (dtype: Dtype, by: Tensor): Tensor[] => {
      const leaves = [requireGrad(torch.to(torch.clone(x), { dtype })), requireGrad(torch.clone(by))] as const;
      const y = torch.prelu(...leaves);
      return [y, ...(gradients(torch.sum(torch.mul(y, torch.to(probe, { dtype }))), leaves) as Tensor[])];
    };
    const [ours, exact] = [of('bfloat16', slope), of('float64', double(half))];
    for (const [i, tolerance] of [TOLERANCE.bfloat16, TOLERANCE.bfloat16, SUMS].entries())
      assert.ok(apart(ours[i]!, exact[i]!) < tolerance, `${i}: ${apart(ours[i]!, exact[i]!)}`);
  }));
