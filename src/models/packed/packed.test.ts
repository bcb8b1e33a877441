// The packed form of a backbone against the backbone itself in double precision, and each operator against libtorch's.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { before, test } from 'node:test';
import { Rng } from '../../base/rng.ts';
import type { Module } from '../../nn/index.ts';
import * as torch from '../../torch/index.ts';
import { inference, liveTensors, scope, setThreads, type Tensor, toFloat32, toFloat64 } from '../../torch/index.ts';
import { type BackboneName, makeBackbone } from '../index.ts';
import { packedForm } from './index.ts';

before(() => setThreads(1));

/** Components of unit embeddings, of sums of some thousand products in single precision, through a whole network. */
const UNIT = 1e-5;
/** Components of unit embeddings whose sums libtorch takes in another order in another batch. */
const ANY_BATCH = 1e-6;
/** Sums of up to 600 products of order 1 in single precision; their value is of order 10. */
const SUMS = 5e-5;
/** The same by Winograd's tiles, whose transforms lose a digit. */
const TILES = 2e-4;
/** Means of values of order 1, weighed by powers of two of sums of some 24 products of order 1 in single precision. */
const WEIGHED = 2e-6;

/** What a layer norm adds to a variance. */
const EPS = 1e-3;

const skip = torch.packedLanes() === 0 && 'this processor has no AVX2';

const drawn = (shape: readonly number[], rng: Rng, low = -1, high = 1): Tensor =>
  torch.fillUniform(torch.zeros(shape), torch.generator(rng.integer(2 ** 31)), low, high);

/** Weights as after a training: batch norms and slopes that differ by channel, maps of order 1. */
function lived(backbone: Module, rng: Rng): Module {
  inference(() =>
    scope(() => {
      for (const [path, value] of backbone.state()) {
        const range = path.endsWith('running_var') || value.shape.length === 1 ? [0.5, 1.5] : null;
        if (path.endsWith('bias') || path.endsWith('running_mean'))
          torch.copy_(value, drawn(value.shape, rng, -0.3, 0.3));
        else if (range && value.dtype === 'float32')
          torch.copy_(value, drawn(value.shape, rng, ...(range as [number, number])));
        else if (value.shape.length > 1) {
          const fan = value.shape.slice(1).reduce((a, b) => a * b, 1);
          torch.copy_(value, torch.mul(drawn(value.shape, rng), Math.sqrt(3 / fan)));
        }
      }
    }),
  );
  return backbone;
}

const images = (count: number, side: number, rng: Rng): Tensor =>
  torch.keep(torch.contiguous(drawn([count, 3, side, side], rng), 'channels_last'));
const units = (model: Module, x: Tensor): Float32Array =>
  inference(() => scope(() => toFloat32(torch.normalizeRows(model.forward(x, { train: false })))));
const double = (x: Tensor): Tensor => torch.to(x, { dtype: 'float64' });
const apart = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);

const cases: readonly (readonly [BackboneName, width: number, side: number])[] = [
  ['r18', 1, 32],
  ['r18', 1, 48], // maps whose sides no tile divides
  ['mbf', 0.5, 32],
  ['mbf_large', 0.25, 48],
  ['vit_t', 0.25, 32],
];

test('the packed form of each backbone embeds as the backbone does, and leaves nothing behind', { skip }, () => {
  for (const [name, width, inputSide] of cases) {
    const rng = new Rng(7);
    const before = liveTensors();
    const backbone = lived(makeBackbone(name, { embeddingDim: 24, inputSide, width }, rng), rng.split('lived'));
    const packed = packedForm(backbone);
    assert.ok(packed, name);
    const x = scope(() => images(5, inputSide, rng.split('x')));
    const [expected, seen] = [units(backbone, x), units(packed, x)];
    assert.ok(apart(seen, expected) < UNIT, `${name}: ${apart(seen, expected)}`);
    assert.ok(seen.some((value) => Math.abs(value) > 0.1));
    // an image gives the same in another batch, and by more threads; to the byte where all operators are ours
    const same = name.startsWith('mbf') ? ANY_BATCH : 0;
    const alone = scope(() => torch.keep(torch.contiguous(torch.narrow(x, 0, 3, 1), 'channels_last')));
    assert.ok(apart(units(packed, alone), seen.slice(3 * 24, 4 * 24)) <= same, `${name} alone`);
    setThreads(2);
    assert.ok(apart(units(packed, x), seen) <= same, `${name} by two threads`);
    setThreads(1);
    for (const tensor of [x, alone, packed, backbone]) tensor.dispose();
    assert.equal(liveTensors(), before, name);
  }
});

test('what is narrow, or ends in one pixel, stays as it is', () => {
  for (const [width, inputSide] of [
    [0.5, 32],
    [1, 16],
  ] as const) {
    const backbone = makeBackbone('r18', { embeddingDim: 8, inputSide, width }, new Rng(1));
    assert.equal(packedForm(backbone), null);
    backbone.dispose();
  }
});

test('convolutions of any side, stride, padding and width equal libtorch’s in double precision', { skip }, () => {
  const rng = new Rng(11);
  for (const [inputs, columns, side, stride, padding, size] of [
    [3, 20, 3, 1, 1, 9],
    [16, 33, 3, 2, 1, 8],
    [5, 64, 1, 2, 0, 7],
    [3, 8, 9, 9, 0, 20],
    [64, 48, 3, 1, 1, 6],
  ] as const)
    scope(() => {
      const x = torch.contiguous(drawn([2, inputs, size, size], rng), 'channels_last');
      const weight = drawn([columns, inputs, side, side], rng);
      const bias = drawn([64], rng);
      const slope = drawn([64], rng);
      const packed = torch.pack(torch.reshape(torch.permute(weight, [2, 3, 1, 0]), [side * side * inputs, columns]));
      const out = Math.floor((size + 2 * padding - side) / stride) + 1;
      const other = torch.contiguous(drawn([2, columns, out, out], rng), 'channels_last');
      const seen = torch.packedConv(x, packed, { side, stride, padding }, { columns, bias, slope }, other);
      const own = (t: Tensor): Tensor => double(torch.narrow(t, 0, 0, columns));
      const sums = torch.conv2d(double(x), double(weight), own(bias), { stride, padding, groups: 1 });
      const expected = torch.add(torch.prelu(sums, own(slope)), double(other));
      assert.ok(apart(toFloat64(double(seen)), toFloat64(expected)) < SUMS, `${[inputs, columns, side, stride]}`);
    });
});

test('Winograd’s tiles equal the definition, pixel by pixel, with another bias at each border', { skip }, () => {
  const rng = new Rng(13);
  const [inputs, columns] = [torch.packedLanes(), 2 * torch.packedLanes()];
  for (const [height, width] of [
    [2, 2],
    [4, 5],
    [7, 9],
  ] as const)
    scope(() => {
      const x = torch.contiguous(drawn([2, inputs, height, width], rng), 'channels_last');
      const weight = drawn([columns, inputs, 3, 3], rng);
      const bias = drawn([9, 32], rng);
      const none = torch.zeros([0]);
      const seen = toFloat32(torch.packedWinograd(x, torch.packWinograd(weight), { columns, bias, slope: none }, none));
      const [pixels, weights, biases] = [toFloat32(x), toFloat32(weight), toFloat32(bias)];
      let worst = 0;
      for (let b = 0; b < 2; b++)
        for (let k = 0; k < columns; k++)
          for (let i = 0; i < height; i++)
            for (let j = 0; j < width; j++) {
              const place = 3 * (i === 0 ? 0 : i === height - 1 ? 2 : 1) + (j === 0 ? 0 : j === width - 1 ? 2 : 1);
              let sum = biases[place * 32 + k]!;
              for (let c = 0; c < inputs; c++)
                for (let di = Math.max(0, 1 - i); di < Math.min(3, height + 1 - i); di++)
                  for (let dj = Math.max(0, 1 - j); dj < Math.min(3, width + 1 - j); dj++)
                    sum +=
                      pixels[((b * inputs + c) * height + i + di - 1) * width + j + dj - 1]! *
                      weights[((k * inputs + c) * 3 + di) * 3 + dj]!;
              worst = Math.max(worst, Math.abs(sum - seen[((b * columns + k) * height + i) * width + j]!));
            }
      assert.ok(worst < TILES, `${height} × ${width}: ${worst}`);
    });
});

/** [R, C] → rows of mean 0 and variance 1, in double precision */
function normed(x: Tensor, eps: number): Tensor {
  const apart = torch.sub(x, torch.mean(x, { dim: 1, keepDim: true }));
  const variance = torch.mean(torch.mul(apart, apart), { dim: 1, keepDim: true });
  return torch.div(apart, torch.sqrt(torch.add(variance, eps)));
}

/** A packed layer of drawn weights, and what it makes in double precision. */
function drawnLayer(inputs: number, columns: number, rng: Rng) {
  const reach = inputs ** -0.5;
  const weight = drawn([inputs, columns], rng, -reach, reach);
  const bias = drawn([Math.ceil(columns / torch.PACKED_COLUMNS) * torch.PACKED_COLUMNS], rng);
  const of = (x: Tensor): Tensor =>
    torch.add(torch.matmul(x, double(weight)), double(torch.narrow(bias, 0, 0, columns)));
  return { weights: torch.pack(weight), bias, of };
}

test('attention equals the definition, head by head, however many tokens of whatever size there are', { skip }, () => {
  const rng = new Rng(17);
  for (const [batch, tokens, heads, size, threads] of [
    [2, 9, 8, 8, 1],
    [1, 50, 2, 24, 2], // fewer images than threads
    [2, 1, 1, 33, 2],
  ] as const)
    scope(() => {
      setThreads(threads);
      const [dim, stride] = [heads * size, 3 * heads * size];
      const [x, layer] = [drawn([batch, tokens, dim], rng, 4, 6), drawnLayer(dim, stride, rng)];
      const values = toFloat64(layer.of(normed(torch.reshape(double(x), [-1, dim]), EPS)));
      const seen = toFloat32(torch.packedAttention(x, EPS, layer, heads));
      setThreads(1);
      const places = Array.from({ length: tokens }, (_, t) => t);
      const at = (b: number, t: number, part: number, h: number): Float64Array =>
        values.subarray((b * tokens + t) * stride + part * dim + h * size).subarray(0, size);
      let worst = 0;
      for (let b = 0; b < batch; b++)
        for (let h = 0; h < heads; h++)
          for (let i = 0; i < tokens; i++) {
            const q = at(b, i, 0, h);
            const scores = places.map((t) => at(b, t, 1, h).reduce((sum, k, d) => sum + k * q[d]!, 0));
            const weights = scores.map((score) => 2 ** (score - Math.max(...scores)));
            const all = weights.reduce((sum, weight) => sum + weight, 0);
            for (let d = 0; d < size; d++) {
              const mean = places.reduce((sum, t) => sum + weights[t]! * at(b, t, 2, h)[d]!, 0) / all;
              worst = Math.max(worst, Math.abs(mean - seen[(b * tokens + i) * dim + h * size + d]!));
            }
          }
      assert.ok(worst < WEIGHED, `${[batch, tokens, heads, size]}: ${worst}`);
      // scores so far apart that single precision has no such power: the largest alone counts
      const far = { ...layer, weights: torch.mul(layer.weights, 1e3) };
      assert.ok(toFloat32(torch.packedAttention(x, EPS, far, heads)).every(Number.isFinite));
    });
});

test('a hidden layer behind normed rows equals libtorch’s in double precision', { skip }, () => {
  const rng = new Rng(19);
  for (const [rows, width, hidden] of [
    [1, 8, 33],
    [130, 27, 40],
  ] as const)
    scope(() => {
      const x = drawn([rows, width], rng, 4, 6);
      const [first, second] = [drawnLayer(width, hidden, rng), drawnLayer(hidden, width, rng)];
      const expected = torch.add(double(x), second.of(torch.clamp(first.of(normed(double(x), EPS)), 0, 6)));
      const seen = torch.packedMlp(x, EPS, hidden, first, second);
      assert.ok(apart(toFloat32(seen), toFloat64(expected)) < SUMS, `${[rows, width, hidden]}`);
    });
});

test('shapes that do not fit are refused', { skip }, () => {
  scope(() => {
    const none = torch.zeros([0]);
    const bias = torch.zeros([32]);
    const packed = torch.pack(torch.zeros([4, 8]));
    const finish = { columns: 8, bias, slope: none };
    assert.throws(() => torch.packedLinear(torch.zeros([2, 5]), packed, finish, none), /wanted x \[R, 4\]/);
    assert.throws(
      () => torch.packedLinear(torch.zeros([2, 4]), packed, { ...finish, bias: torch.zeros([8]) }, none),
      /last panel/,
    );
    assert.throws(() => torch.packedLinear(torch.zeros([2, 4]), packed, finish, torch.zeros([2, 7])), /other branch/);
    const layer = { weights: packed, bias };
    assert.throws(() => torch.packedAttention(torch.zeros([1, 2, 4]), 1, layer, 3), /of 3 heads/);
    const few = { weights: torch.pack(torch.zeros([16, 8])), bias };
    assert.throws(() => torch.packedAttention(torch.zeros([1, 2, 16]), 1, few, 2), /packed for 48 columns/);
    assert.throws(() => torch.packedMlp(torch.zeros([2, 4]), 1, 8, layer, layer), /take 4 columns/);
    const map = torch.contiguous(torch.zeros([1, 3, 4, 4]), 'channels_last');
    const winograd = torch.packWinograd(torch.zeros([16, 16, 3, 3]));
    assert.throws(
      () => torch.packedWinograd(map, winograd, { columns: 16, bias: torch.zeros([9, 32]), slope: none }, none),
      /do not fit/,
    );
  });
});

test('all of it holds with the vectors of AVX2, too', {
  skip: skip || process.env['MIXBCT_LANES'] !== undefined,
}, () => {
  const env = { ...process.env, MIXBCT_LANES: '8' };
  const { status, stdout, stderr } = spawnSync(process.execPath, [import.meta.filename], { env, encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
});
