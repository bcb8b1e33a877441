// Where a run's tensors live: on a CUDA device where there is one, and on libtorch's device of shapes without values (meta).
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { lastReport, oldSide, tinySet, trained } from '../../test/helpers/runs.ts';
import { CLASSES, tinyBatch } from '../../test/helpers/session.ts';
import { Rng } from '../base/rng.ts';
import { imageTensor, labelTensor } from '../data/collate.ts';
import {
  buildInfo,
  defaultDevice,
  fillNormal,
  generator,
  ones,
  requireGrad,
  scope,
  setDefaultDevice,
  type Tensor,
  tensor,
  toNumbers,
  zeros,
} from '../torch/index.ts';
import { openOldModelInputs } from './old-model-inputs.ts';
import { disposeSession, openSession, sessionState } from './session.ts';

afterEach(() => setDefaultDevice('cpu'));

/** One single-precision training run on another device: sums in another order, over all of it. */
const OTHER_DEVICE = 5e-2;

test('new tensors are made at home, random ones too', () =>
  scope(() => {
    const made = (): Tensor[] => [
      zeros([2]),
      tensor([1, 2]),
      ones([2], { dtype: 'int64' }),
      fillNormal(zeros([2]), generator(1)),
    ];
    assert.deepEqual(
      made().map(({ device }) => device),
      new Array(4).fill('cpu'),
    );
    setDefaultDevice('meta');
    assert.equal(defaultDevice(), 'meta');
    assert.deepEqual(
      made().map(({ device }) => device),
      new Array(4).fill('meta'),
    );
    assert.equal(zeros([2], { device: 'cpu' }).device, 'cpu');
  }));

test('a session, its batches and what the old model left are at home', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const { prototypes, ...side } = await oldSide(folder, dataset);
  setDefaultDevice('meta');
  for (const [changes, paths] of [
    [{ method: { kind: 'nccl' }, head: { kind: 'softmax' }, optimizer: { kind: 'sgd' } }, { features: side.features }],
    [{ method: { kind: 'bct' }, projection: { dim: 8 } }, { prototypes }],
    [{ method: { kind: 'advbct' } }, { features: side.features, boundaries: side.boundaries }],
  ] as const) {
    const recipe = tinyRecipe(changes);
    using old = openOldModelInputs(recipe, paths, dataset);
    const session = openSession(recipe, CLASSES, new Rng(1));
    for (const [name, value] of sessionState(session)) assert.equal(value.device, 'meta', name);
    scope(() => {
      const { images, labels, indices } = tinyBatch(6);
      assert.equal(imageTensor({ images, count: 6, side: 16 }).device, 'meta');
      assert.equal(labelTensor(labels).device, 'meta');
      const { oldEmbedding, oldPrototypes, oldBoundaries } = old.forBatch(indices);
      for (const value of [oldEmbedding, oldPrototypes, oldBoundaries?.centres, oldBoundaries?.several])
        if (value) assert.equal(value.device, 'meta');
    });
    disposeSession(session);
  }
});

test('a device that is not there is refused with what to do', () => {
  const { cuda, cudaDevices } = buildInfo();
  assert.throws(
    () => setDefaultDevice(`cuda:${cudaDevices}`),
    cuda ? /CUDA devices\n.*doctor/ : /without CUDA\n.*cuda npm run setup/,
  );
  assert.equal(defaultDevice(), 'cpu');
});

const noCuda = buildInfo().cudaDevices > 0 ? false : 'no CUDA device here';

test('training on a CUDA device is training', { skip: noCuda }, async (t) => {
  const { folder, dataset } = await tinySet(t);
  const losses = [];
  for (const device of ['cpu', 'cuda']) {
    setDefaultDevice(device);
    const x = requireGrad(tensor([1, 2]));
    assert.ok(x.device.startsWith(device) && toNumbers(x).length === 2);
    const out = join(folder, device);
    await trained(dataset, out, { augment: { flip: false }, optimizer: { kind: 'sgd', lr: 0.02 } });
    losses.push(lastReport(out).loss);
  }
  assert.ok(Math.abs(losses[0]! - losses[1]!) < OTHER_DEVICE * losses[0]!, String(losses));
});

test('fp16 with its scaler trains on a CUDA device', { skip: noCuda }, async (t) => {
  const { folder, dataset } = await tinySet(t);
  setDefaultDevice('cuda');
  const manifest = await trained(dataset, join(folder, 'fp16'), { precision: 'fp16' });
  assert.equal(manifest.steps, 18);
});
