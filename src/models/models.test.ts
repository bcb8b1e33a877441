import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { fill, gap } from '../../test/helpers/formula.ts';
import { golden } from '../../test/helpers/golden.ts';
import { applyWeightRule } from '../../test/helpers/weights.ts';
import { Rng } from '../base/rng.ts';
import type { Module } from '../nn/index.ts';
import {
  allocatorStats,
  backward,
  defaultGenerator,
  mean,
  narrow,
  noGrad,
  ones,
  scope,
  setThreads,
  square,
  sum,
  type Tensor,
  tensor,
  toNumbers,
} from '../torch/index.ts';
import { type BackboneName, type BackboneOptions, makeBackbone } from './index.ts';
import { Block } from './iresnet.ts';
import { drawTokens, dropSamples } from './vit.ts';

const vectors = golden('parity_vectors.json').backbones;
/** A whole network in float32 against the same in PyTorch: other convolution algorithms, other order of sums. */
const FLOAT32_NETWORK = 1e-4;
/** Batch statistics of two images divide by small variances: float32 in PyTorch itself is this far from float64. */
const SMALL_BATCH_STATISTICS = 2e-2;

before(() => setThreads(1));

for (const [name, entries] of [
  ['r18', 156],
  ['r50', 396],
  ['mbf', 283],
  ['vit_t', 148],
] as const)
  test(`${name} embeds as the reference does (8.13)`, () =>
    scope(() => {
      const net = makeBackbone(name, { embeddingDim: 8 }, new Rng(0));
      assert.equal(applyWeightRule(net), entries);
      const out = noGrad(() => net.forward(fill([2, 3, 112, 112], 0, 0.01, 1, 'float32'), { train: false }));
      assert.deepEqual(out.shape, [2, 8]);
      assert.ok(gap(out, vectors[`${name}_torch.float32_eval`].flat()) < FLOAT32_NETWORK);
      net.dispose();
    }));

test('mbf embeds as the reference does in training, where batch statistics count (8.13)', () =>
  scope(() => {
    const net = makeBackbone('mbf', { embeddingDim: 8 }, new Rng(0));
    applyWeightRule(net);
    const out = net.forward(fill([2, 3, 112, 112], 0, 0.01, 1, 'float32'), { train: true });
    assert.ok(gap(out, vectors['mbf_torch.float64_train'].y.flat()) < SMALL_BATCH_STATISTICS);
    net.dispose();
  }));

test('one block of iresnet, evaluated and trained (8.13)', () =>
  scope(() => {
    const x = fill([1, 4, 6, 6], 0.1, 0.21, 1, 'float32');
    const block = new Block(4, 8, 2, new Rng(0));
    applyWeightRule(block);
    const firstChannel = (out: Tensor): Tensor => narrow(out, 1, 0, 1);
    const still = noGrad(() => block.forward(x, { train: false }));
    assert.deepEqual(still.shape, [1, 8, 3, 3]);
    assert.ok(Math.abs(sum(still).item() + 1.5680211493) < FLOAT32_NETWORK);
    const rows = [0.4354967053, 0.6936313645, 0.8316434497, -0.1021482142, -0.5021198903, -0.8733793384];
    assert.ok(gap(firstChannel(still), [...rows, -0.7043970115, -0.4422936615, 0.0375069865]) < FLOAT32_NETWORK);
    const trained = noGrad(() => block.forward(x, { train: true }));
    assert.ok(Math.abs(sum(trained).item() - 1.3671068144) < FLOAT32_NETWORK);
    const [, ...firstRow] = [0, 1.6571590916, 2.257604857, 2.7081581046];
    assert.ok(gap(narrow(firstChannel(trained), 2, 0, 1), firstRow) < FLOAT32_NETWORK);
    const { runningMean, runningVar } = block.bn1;
    assert.ok(gap(runningMean, [0.0502667737, 0.0418241468, 0.0056329031, -0.0310939572]) < FLOAT32_NETWORK);
    assert.ok(gap(runningVar, [0.961267237, 0.9226815358, 0.8767791527, 0.8668055466]) < FLOAT32_NETWORK);
    block.dispose();
  }));

test('parameter counts are those of the reference (3.1, 3.3, 3.4)', () => {
  const expected: Partial<Record<BackboneName, number>> = {
    r18: 24_025_600,
    r34: 34_139_328,
    r50: 43_590_848,
    r100: 65_156_160,
    r200: 118_833_920,
    mbf: 2_059_520,
    mbf_large: 6_314_880,
    vit_t: 19_137_792,
    vit_t_dp005_mask0: 19_137_792,
    vit_s: 76_023_296,
    vit_b: 113_833_472,
    vit_l_dp005_mask_005: 255_684_352,
  };
  for (const [name, count] of Object.entries(expected)) {
    const net = makeBackbone(name as BackboneName, { embeddingDim: 512 }, new Rng(0));
    assert.equal(
      [...net.parameters()].reduce((total, [, p]) => total + p.numel, 0),
      count,
      name,
    );
    net.dispose();
  }
});

/** A network that is quick to run, of any kind. */
const tiny = (name: BackboneName, options: Partial<BackboneOptions> = {}) =>
  makeBackbone(name, { embeddingDim: 8, inputSide: 32, width: 1 / 16, ...options }, new Rng(5));

/** Loss, gradients and state after one training pass with given random numbers. */
function trainedOnce(net: Module): { readonly loss: number; readonly numbers: number[][]; readonly heldBytes: number } {
  const result = scope(() => {
    defaultGenerator().seed(3);
    const before = allocatorStats().inUseBytes;
    const loss = mean(square(net.forward(fill([3, 3, 32, 32], 0.2, 0.37, 1, 'float32'), { train: true })));
    const heldBytes = allocatorStats().inUseBytes - before;
    backward(loss);
    const gradients = [...net.parameters()].flatMap(([, p]) => (p.grad ? [toNumbers(p.grad)] : []));
    return {
      loss: loss.item(),
      numbers: [...gradients, ...[...net.state()].map(([, value]) => toNumbers(value))],
      heldBytes,
    };
  });
  net.dispose();
  return result;
}

test('activation checkpointing changes no bit of loss, gradients and running statistics, and remembers less', () => {
  const stochastic: Partial<Record<BackboneName, Partial<BackboneOptions>>> = {
    r34: { dropout: 0.3 },
    mbf: {},
    vit_t: { dropPath: 0.4, maskRatio: 0.3 },
  };
  for (const [name, options] of Object.entries(stochastic) as [BackboneName, Partial<BackboneOptions>][]) {
    const plain = trainedOnce(tiny(name, { ...options, checkpointEvery: 0 }));
    for (const checkpointEvery of [1, 2, 100]) {
      const saving = trainedOnce(tiny(name, { ...options, checkpointEvery }));
      assert.equal(saving.loss, plain.loss, name);
      assert.deepEqual(saving.numbers, plain.numbers, `${name}, ${checkpointEvery} at a time`);
      assert.ok(saving.heldBytes < 0.7 * plain.heldBytes, `${name}: ${saving.heldBytes} of ${plain.heldBytes} bytes`);
    }
  }
});

test('a checkpointed pass is differentiated once, and one that never is does no harm', () => {
  const net = tiny('vit_b');
  scope(() => {
    const loss = mean(net.forward(fill([2, 3, 32, 32], 0.2, 0.37, 1, 'float32'), { train: true }));
    assert.throws(() => backward(loss, { retainGraph: true }), /differentiated once/);
  });
  scope(() => backward(mean(net.forward(fill([2, 3, 32, 32], 0.1, 0.3, 1, 'float32'), { train: true }))));
  assert.ok(new Map(net.parameters()).get('blocks.0.attn.qkv.weight')!.grad);
  net.dispose();
});

test('r2060 has its 1,030 blocks and trains, checkpointed', () => {
  const net = tiny('r2060', { width: 1 / 64, inputSide: 16 });
  assert.equal([...net.state()].filter(([path]) => path.endsWith('.prelu.weight')).length, 3 + 128 + 896 + 3);
  scope(() => backward(mean(square(net.forward(fill([2, 3, 16, 16], 0.1, 0.3, 1, 'float32'), { train: true })))));
  assert.ok(new Map(net.parameters()).get('layer1.0.conv1.weight')!.grad);
  net.dispose();
});

test('tokens of smallest noise are seen, and every token finds its place again', () =>
  scope(() => {
    const noise = [
      [0.7, 0.1, 0.9, 0.4, 0.2],
      [0.3, 0.8, 0.6, 0.5, 0.05],
    ];
    const { seen, places } = drawTokens(tensor(noise.flat(), { shape: [2, 5] }), 3);
    const byHand = noise.map((row) =>
      row
        .map((value, i) => [value, i] as const)
        .sort(([a], [b]) => a - b)
        .map(([, i]) => i),
    );
    assert.deepEqual(
      toNumbers(seen),
      byHand.flatMap((order) => order.slice(0, 3)),
    );
    assert.deepEqual(
      toNumbers(places),
      byHand.flatMap((order) => order.map((_, i) => order.indexOf(i))),
    );
  }));

test('a left-out branch is left out of whole samples, and the mean over many stays', () =>
  scope(() => {
    defaultGenerator().seed(1);
    const numbers = toNumbers(dropSamples(ones([4000, 1, 3]), 0.25));
    const rows = Array.from({ length: 4000 }, (_, i) => numbers.slice(3 * i, 3 * i + 3));
    assert.ok(rows.every(([a, b, c]) => a === b && b === c && (a === 0 || Math.abs(a! - 4 / 3) < 1e-6)));
    const kept = rows.filter(([a]) => a !== 0).length / rows.length;
    assert.ok(Math.abs(kept - 0.75) < 0.03, `${kept} kept; four deviations are 0.027`);
  }));

test('evaluation draws nothing: masks and left-out branches are for training', () => {
  const net = tiny('vit_t', { dropPath: 0.5, maskRatio: 0.5 });
  const run = (train: boolean, seed: number): number[] =>
    scope(() => {
      defaultGenerator().seed(seed);
      return toNumbers(noGrad(() => net.forward(fill([4, 3, 32, 32], 0.2, 0.37, 1, 'float32'), { train })));
    });
  assert.deepEqual(run(false, 1), run(false, 2));
  assert.notDeepEqual(run(true, 1), run(true, 2));
  net.dispose();
});

test('initial weights are drawn as the reference draws them (3.1, 3.3, 3.4)', () => {
  const deviation = (name: BackboneName, path: string): number => {
    const net = makeBackbone(name, { embeddingDim: 64, inputSide: 32 }, new Rng(1));
    const numbers = toNumbers(new Map(net.state()).get(path)!);
    net.dispose();
    return Math.sqrt(numbers.reduce((total, x) => total + x * x, 0) / numbers.length);
  };
  const near = (value: number, wanted: number): void =>
    assert.ok(Math.abs(value / wanted - 1) < 0.05, `${value}, wanted ${wanted} ± 5 %`);
  near(deviation('r18', 'layer3.0.conv1.weight'), 0.1);
  near(deviation('mbf', 'layers.2.layers.0.layers.0.weight'), Math.sqrt(2 / 128)); // 1×1 to 128 channels
  near(deviation('mbf', 'layers.2.layers.1.layers.0.weight'), Math.sqrt(2 / (128 * 9))); // 3×3 on each of 128
  near(deviation('mbf', 'features.layers.2.weight'), Math.sqrt(2 / 64));
  near(deviation('vit_t', 'blocks.3.attn.qkv.weight'), 0.02);
  near(deviation('vit_t', 'feature.0.weight'), 0.02);
  assert.equal(deviation('vit_t', 'blocks.3.mlp.fc1.bias'), 0);
});

test('state names are the reference’s, and the last batch norm’s weight is frozen at 1', () => {
  const net = makeBackbone('r18', { embeddingDim: 8, inputSide: 32, width: 0.125 }, new Rng(0));
  const names = [...net.state()].map(([path]) => path);
  assert.equal(names.length, 187);
  assert.deepEqual(names.slice(0, 8), [
    'conv1.weight',
    'bn1.weight',
    'bn1.bias',
    'bn1.running_mean',
    'bn1.running_var',
    'bn1.num_batches_tracked',
    'prelu.weight',
    'layer1.0.bn1.weight',
  ]);
  assert.ok(names.includes('layer2.0.downsample.1.running_var'));
  assert.equal(names.at(-1), 'features.num_batches_tracked');
  const features = new Map(net.parameters()).get('features.weight')!;
  assert.ok(!features.requiresGrad && toNumbers(features).every((w) => w === 1));
  net.dispose();
});

test('one seed gives one network, another seed another', () => {
  const first = (seed: number): number[] => {
    const net = makeBackbone('r18', { embeddingDim: 8, inputSide: 32, width: 0.125 }, new Rng(seed));
    const numbers = toNumbers(new Map(net.state()).get('conv1.weight')!);
    net.dispose();
    return numbers;
  };
  assert.deepEqual(first(1), first(1));
  assert.notDeepEqual(first(1), first(2));
});

test('an input side that does not fit is refused', () => {
  for (const name of ['r18', 'mbf'] as const)
    assert.throws(() => makeBackbone(name, { embeddingDim: 8, inputSide: 100 }, new Rng(0)), /multiple of 16/);
  assert.throws(() => makeBackbone('vit_t', { embeddingDim: 8, inputSide: 8 }, new Rng(0)), /at least 9/);
});
