import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, gap } from '../../test/helpers/formula.ts';
import { DIFFERENCES } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import { Rng } from '../base/rng.ts';
import {
  batchNorm,
  contiguous,
  conv2d,
  copy_,
  defaultGenerator,
  detach,
  gradients,
  layerNorm,
  linear,
  liveTensors,
  mul,
  noGrad,
  ones,
  prelu,
  requireGrad,
  scope,
  sum,
  type Tensor,
  tensor,
  to,
  toNumbers,
} from '../torch/index.ts';
import { BatchNorm, Conv2d, Dropout, Flatten, LayerNorm, Linear, Module, PReLU, Sequential } from './index.ts';

/** Double precision against plain loops. */
const DOUBLE = 1e-12;
/** Single precision against plain loops in double. */
const SINGLE = 1e-5;

const [EVAL, TRAIN] = [{ train: false }, { train: true }] as const;
const named = (module: Module): Map<string, Tensor> => new Map(module.state());
const put = (into: Tensor, values: Tensor): void => {
  scope(() => noGrad(() => copy_(into, to(values, { dtype: 'float32' }))));
};

test('conv2d equals its definition and finite differences, strided, padded and grouped', () => {
  scope(() => {
    const [x, weight, bias] = [fill([2, 4, 5, 6], 0.3, 0.7), fill([6, 2, 3, 3], 0.1, 0.4), fill([6], 0.2, 0.9)];
    const options = { stride: 2, padding: 1, groups: 2 };
    const y = conv2d(x, weight, bias, options);
    assert.deepEqual(y.shape, [2, 6, 3, 3]);
    const [xs, ws, bs] = [toNumbers(x), toNumbers(weight), toNumbers(bias)];
    const expected: number[] = [];
    for (let b = 0; b < 2; b++)
      for (let o = 0; o < 6; o++)
        for (let i = 0; i < 3; i++)
          for (let j = 0; j < 3; j++) {
            let total = bs[o]!;
            for (let c = 0; c < 2; c++)
              for (let u = 0; u < 3; u++)
                for (let v = 0; v < 3; v++) {
                  const [row, column] = [2 * i + u - 1, 2 * j + v - 1];
                  if (row < 0 || column < 0 || row >= 5 || column >= 6) continue;
                  const channel = (o < 3 ? 0 : 2) + c;
                  total += xs[((b * 4 + channel) * 5 + row) * 6 + column]! * ws[((o * 2 + c) * 3 + u) * 3 + v]!;
                }
            expected.push(total);
          }
    assert.ok(gap(y, expected) < DOUBLE);
    const probe = fill([2, 6, 3, 3], 1, 0.6);
    assert.ok(gradientGap((value) => sum(mul(conv2d(value, weight, bias, options), probe)), x) < DIFFERENCES);
    assert.ok(gradientGap((value) => sum(mul(conv2d(x, value, bias, options), probe)), weight) < DIFFERENCES);
  });
});

test('linear and layer norm equal their definitions and finite differences', () => {
  scope(() => {
    const [x, weight, bias] = [fill([3, 4], 0.2, 0.8), fill([5, 4], 0.5, 0.3), fill([5], 0.1, 1.1)];
    const rows = (t: Tensor): number[][] =>
      Array.from({ length: t.shape[0]! }, (_, i) => toNumbers(t).slice(i * t.shape[1]!, (i + 1) * t.shape[1]!));
    const expected = rows(x).flatMap((row) =>
      rows(weight).map((w, o) => w.reduce((total, v, i) => total + v * row[i]!, toNumbers(bias)[o]!)),
    );
    assert.ok(gap(linear(x, weight, bias), expected) < DOUBLE);
    const [scale, shift] = [fill([4], 0.9, 0.2), fill([4], 0.4, 0.7)];
    const normal = rows(x).flatMap((row) => {
      const mean = row.reduce((a, b) => a + b) / 4;
      const variance = row.reduce((total, v) => total + (v - mean) ** 2, 0) / 4;
      return row.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * toNumbers(scale)[i]! + toNumbers(shift)[i]!);
    });
    assert.ok(gap(layerNorm(x, scale, shift), normal) < DOUBLE);
    const probe = fill([3, 4], 1, 0.6);
    assert.ok(gradientGap((value) => sum(mul(layerNorm(value, scale, shift), probe)), x) < DIFFERENCES);
    assert.ok(gradientGap((value) => sum(mul(linear(value, weight, bias), fill([3, 5], 1, 0.3))), x) < DIFFERENCES);
  });
});

test('batch norm trains on the batch, moves its running statistics, and evaluates with them', () => {
  scope(() => {
    const layer = new BatchNorm(2);
    const values = [1, 2, 3, 6, 0, 4, 4, 8];
    const x = to(tensor(values, { shape: [4, 2] }), { dtype: 'float32' });
    const column = (c: number): number[] => values.filter((_, i) => i % 2 === c);
    const stats = [0, 1].map((c) => {
      const mean = column(c).reduce((a, b) => a + b) / 4;
      return { mean, squares: column(c).reduce((total, v) => total + (v - mean) ** 2, 0) };
    });
    const trained = layer.forward(x, TRAIN);
    const expected = values.map((v, i) => (v - stats[i % 2]!.mean) / Math.sqrt(stats[i % 2]!.squares / 4 + 1e-5));
    assert.ok(gap(trained, expected) < SINGLE);
    assert.ok(
      gap(
        layer.runningMean,
        stats.map(({ mean }) => 0.1 * mean),
      ) < SINGLE,
    );
    assert.ok(
      gap(
        layer.runningVar,
        stats.map(({ squares }) => 0.9 + 0.1 * (squares / 3)),
      ) < SINGLE,
      'unbiased',
    );
    assert.deepEqual(toNumbers(layer.numBatchesTracked), [1]);
    const [mean, variance] = [toNumbers(layer.runningMean), toNumbers(layer.runningVar)];
    const evaluated = values.map((v, i) => (v - mean[i % 2]!) / Math.sqrt(variance[i % 2]! + 1e-5));
    assert.ok(gap(layer.forward(x, EVAL), evaluated) < SINGLE);
    assert.deepEqual(toNumbers(layer.numBatchesTracked), [1], 'evaluation counts nothing');
    const [weight, bias] = [fill([3], 0.9, 0.2), fill([3], 0.3, 0.5)];
    const state = { weight, bias, runningMean: fill([3], 0, 0), runningVar: fill([3], Math.PI / 2, 0) };
    const f = (value: Tensor): Tensor =>
      sum(mul(batchNorm(value, state, { training: true }), fill([4, 3, 2, 2], 1, 0.6)));
    assert.ok(gradientGap(f, fill([4, 3, 2, 2], 0.3, 0.77)) < DIFFERENCES);
    layer.dispose();
  });
});

test('batch norm refuses to train on one value for each channel, and takes several pixels, a frozen layer or an evaluation', () => {
  scope(() => {
    const layer = new BatchNorm(2);
    const one = ones([1, 2]);
    assert.throws(() => layer.forward(one, TRAIN), /one value for each channel.*\n.*raise batchSize, lower accumulate/);
    assert.deepEqual(toNumbers(layer.runningVar), [1, 1]);
    assert.deepEqual(layer.forward(one, EVAL).shape, [1, 2]);
    assert.deepEqual(layer.forward(ones([1, 2, 3, 3]), TRAIN).shape, [1, 2, 3, 3]);
    new Sequential(layer).freeze(() => true);
    assert.deepEqual(layer.forward(one, TRAIN).shape, [1, 2]);
    layer.dispose();
  });
});

test('PReLU bends negative values, channel by channel', () => {
  scope(() => {
    const slope = tensor(Float64Array.of(0.25, 2));
    const x = tensor(Float64Array.of(1, -1, -2, 3, -4, 5, 0.5, -6), { shape: [2, 2, 2] });
    assert.deepEqual(toNumbers(prelu(x, slope)), [1, -0.25, -4, 3, -1, 5, 0.5, -12]);
    const layer = new PReLU(2);
    assert.deepEqual(toNumbers(layer.weight), [0.25, 0.25]);
    layer.dispose();
    const probe = fill([2, 2, 2], 1, 0.6);
    assert.ok(gradientGap((value) => sum(mul(prelu(x, value), probe)), slope) < DIFFERENCES);
  });
});

test('PReLU on channels-last single precision, our own backward pass, equals the double one', () => {
  scope(() => {
    const shape = [3, 5, 4, 7];
    const [x, slope, probe] = [fill(shape, 0.3, 0.77), fill([5], 0.2, 0.9), fill(shape, 1, 0.6)];
    const gradientsOf = (dtype: 'float32' | 'float64'): Tensor[] => {
      const leaves = [contiguous(to(x, { dtype }), 'channels_last'), to(slope, { dtype })].map((leaf) =>
        requireGrad(detach(leaf)),
      );
      const y = prelu(leaves[0]!, leaves[1]!);
      return [y, ...gradients(sum(mul(y, to(probe, { dtype }))), leaves)].map((value) =>
        to(value!, { dtype: 'float64' }),
      );
    };
    const [single, double] = [gradientsOf('float32'), gradientsOf('float64')];
    for (const [i, value] of single.entries())
      assert.ok(gap(value, toNumbers(double[i]!)) < SINGLE, ['value', 'x', 'slope'][i]);
  });
});

test('dropout zeroes its share in training, keeps the mean, repeats with the seed, and rests in evaluation', () => {
  scope(() => {
    const layer = new Dropout(0.25);
    const x = to(tensor(new Float64Array(4000).fill(1), { shape: [40, 100] }), { dtype: 'float32' });
    const draw = (seed: number): number[] => {
      defaultGenerator().seed(seed);
      return toNumbers(layer.forward(x, TRAIN));
    };
    const once = draw(5);
    assert.deepEqual(new Set(once.map((v) => v.toFixed(4))), new Set(['0.0000', '1.3333']));
    const share = once.filter((v) => v === 0).length / 4000;
    assert.ok(Math.abs(share - 0.25) < 0.03, `${share}`);
    assert.deepEqual(draw(5), once);
    assert.notDeepEqual(draw(6), once);
    assert.equal(layer.forward(x, EVAL), x);
  });
});

test('a module walks its fields, with the names of PyTorch, and frees them', () => {
  class Net extends Module {
    readonly conv1 = new Conv2d(3, 4, { kernel: 3, bias: false }, new Rng(1));
    readonly layer1 = [new Sequential(new BatchNorm(4), new PReLU(4)), new Linear(4, 2, {}, new Rng(2))];
    readonly normFinal = new LayerNorm(2);
    readonly flatten = new Flatten();
    override forward(x: Tensor): Tensor {
      return x;
    }
  }
  const before = liveTensors();
  const net = new Net();
  const bn = ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked'].map(
    (name) => `layer1.0.0.${name}`,
  );
  const expected = [
    'conv1.weight',
    ...bn,
    'layer1.0.1.weight',
    'layer1.1.weight',
    'layer1.1.bias',
    'norm_final.weight',
    'norm_final.bias',
  ];
  assert.deepEqual([...named(net).keys()], expected);
  const learned = [...net.parameters()].map(([name]) => name);
  assert.deepEqual(
    learned,
    expected.filter((name) => !/running|tracked/.test(name)),
  );
  for (const [name, value] of net.parameters()) assert.ok(value.requiresGrad, name);
  assert.ok(!named(net).get('layer1.0.0.running_mean')!.requiresGrad);
  net.dispose();
  assert.equal(liveTensors(), before);
});

test("initial weights are PyTorch's in distribution, and the seed's in value", () => {
  scope(() => {
    const [a, b, c] = [1, 1, 2].map((seed) => new Linear(64, 128, {}, new Rng(seed)));
    assert.deepEqual(toNumbers(a!.weight), toNumbers(b!.weight));
    assert.notDeepEqual(toNumbers(a!.weight), toNumbers(c!.weight));
    const bound = 1 / 8; // 1/√64
    const values = toNumbers(a!.weight);
    assert.ok(values.every((v) => Math.abs(v) <= bound));
    const variance = values.reduce((total, v) => total + v * v, 0) / values.length;
    assert.ok(Math.abs(variance / (bound ** 2 / 3) - 1) < 0.05, 'uniform');
    assert.ok(toNumbers(a!.bias!).every((v) => Math.abs(v) <= bound));
    const conv = new Conv2d(8, 16, { kernel: 3 }, new Rng(1));
    assert.ok(toNumbers(conv.weight).every((v) => Math.abs(v) <= 1 / Math.sqrt(72)));
    for (const module of [a!, b!, c!, conv]) module.dispose();
  });
});

test('sequential runs its modules in order', () => {
  scope(() => {
    const net = new Sequential(new Linear(2, 2, { bias: false }, new Rng(1)), new PReLU(2), new Flatten());
    put(named(net).get('0.weight')!, tensor(Float64Array.of(1, 0, 0, -1), { shape: [2, 2] }));
    const y = net.forward(to(tensor(Float64Array.of(3, 4), { shape: [1, 2] }), { dtype: 'float32' }), EVAL);
    assert.deepEqual(toNumbers(y), [3, -1]);
    net.dispose();
  });
});
