import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, gap } from '../../test/helpers/formula.ts';
import { golden } from '../../test/helpers/golden.ts';
import { applyWeightRule } from '../../test/helpers/weights.ts';
import { Rng } from '../base/rng.ts';
import { noGrad, scope, toNumbers } from '../torch/index.ts';
import { makeBackbone } from './index.ts';

const vectors = golden('parity_vectors.json').backbones;
/** A whole network in float32 against the same in PyTorch: other convolution algorithms, other order of sums. */
const FLOAT32_NETWORK = 1e-4;

for (const [name, entries] of [
  ['r18', 156],
  ['r50', 396],
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

test('parameter counts are those of the reference (3.1)', () => {
  const expected = { r18: 24_025_600, r34: 34_139_328, r50: 43_590_848, r100: 65_156_160, r200: 118_833_920 };
  for (const [name, count] of Object.entries(expected)) {
    const net = makeBackbone(name as keyof typeof expected, { embeddingDim: 512 }, new Rng(0));
    assert.equal(
      [...net.parameters()].reduce((sum, [, p]) => sum + p.numel, 0),
      count,
      name,
    );
    net.dispose();
  }
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

test('an input side that is no multiple of 16 is refused', () => {
  assert.throws(() => makeBackbone('r18', { embeddingDim: 8, inputSide: 100 }, new Rng(0)), /multiple of 16/);
});
