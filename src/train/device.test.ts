// Where a run's tensors live: on a CUDA device where there is one, and on libtorch's device of shapes without values (meta).
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { lastReport, sharedSet, tinySet, trained } from '../../test/helpers/runs.ts';
import { CLASSES, stepAt, tinyBatch } from '../../test/helpers/session.ts';
import { Rng } from '../base/rng.ts';
import { imageTensor, labelTensor } from '../data/collate.ts';
import { openEncoder } from '../runs/open-encoder.ts';
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
import { native } from '../torch/native.ts';
import { openOldModelInputs } from './old-model-inputs.ts';
import { disposeSession, openSession, sessionState } from './session.ts';
import { trainStep } from './train-step.ts';

afterEach(() => setDefaultDevice('cpu'));

const shared = sharedSet();

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

test('a session, its batches and what the old model left are at home', async () => {
  const {
    dataset,
    side: { prototypes, ...side },
  } = await shared();
  setDefaultDevice('meta');
  for (const [changes, paths] of [
    [{ method: { kind: 'nccl' }, head: { kind: 'softmax' }, optimizer: { kind: 'sgd' } }, { features: side.features }],
    [{ method: { kind: 'bct' }, projection: { dim: 8 } }, { prototypes }],
    [{ method: { kind: 'advbct' } }, { features: side.features, boundaries: side.boundaries }],
  ] as const) {
    const recipe = tinyRecipe(changes);
    using old = openOldModelInputs(recipe, paths, dataset);
    const session = openSession(recipe, CLASSES, new Rng(1));
    for (const [name, value] of sessionState(session))
      assert.equal(value.device, name === 'optimizer.steps' ? 'cpu' : 'meta', name); // read in each step
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

test('a step reads once from its device: loss, terms and norm together, behind the backward pass', async () => {
  const { dataset, side } = await shared();
  const { features, credible, prototypes } = side;
  const { copyTo, item } = native;
  let reads: string[] = [];
  const noted = (x: Tensor): Tensor => {
    reads.push(new Error().stack!);
    return x;
  };
  native.copyTo = (x, array) => copyTo(noted(x), array);
  native.item = (x) => item(noted(x));
  try {
    for (const [changes, paths] of [
      [{}, {}],
      [{ accumulate: 2 }, {}],
      [{ method: { kind: 'l2' } }, { features }],
      [{ method: { kind: 'mixbct' } }, { features, credible }],
      [{ method: { kind: 'bct' } }, { prototypes }],
    ] as const) {
      const recipe = tinyRecipe({ ...changes, optimizer: { kind: 'sgd' } });
      using old = openOldModelInputs(recipe, paths, dataset);
      const session = openSession(recipe, CLASSES, new Rng(1));
      reads = [];
      trainStep(session, tinyBatch(12), old, stepAt());
      assert.equal(reads.length, 1, `${JSON.stringify(changes)}: ${reads.join('\n')}`);
      assert.match(reads[0]!, /\bat readStep /);
      disposeSession(session);
    }
  } finally {
    Object.assign(native, { copyTo, item });
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

test('embeddings on a CUDA device are those of the CPU, also in half precision', { skip: noCuda }, async (t) => {
  const { folder, dataset } = await tinySet(t);
  await trained(dataset, join(folder, 'run'), { epochs: 1 });
  const { images } = tinyBatch(12);
  const embedded = async (device: string, precision?: 'bf16' | 'fp16'): Promise<Float32Array> => {
    setDefaultDevice(device);
    using encoder = await openEncoder(join(folder, 'run'), { ...(precision && { precision }) });
    return await encoder.embed(images, 12);
  };
  const wanted = await embedded('cpu');
  for (const precision of [undefined, 'bf16', 'fp16'] as const) {
    const found = await embedded('cuda', precision);
    const [least] = rowCosines(wanted, found).sort((a, b) => a - b);
    assert.ok(least! > (precision ? HALF_COSINE : DEVICE_COSINE), `${precision}: ${least}`);
  }
});

/** Least cosine of an image's embeddings in float32 or TF32 on two devices, and of half precision. */
const [DEVICE_COSINE, HALF_COSINE] = [0.9995, 0.995];

function rowCosines(a: Float32Array, b: Float32Array, dim = 8): number[] {
  const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  return Array.from({ length: a.length / dim }, (_, i) => {
    const [x, y] = [a, b].map((rows) => rows.subarray(i * dim, (i + 1) * dim)) as [Float32Array, Float32Array];
    return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
  });
}

test('fp16 with its scaler trains on a CUDA device', { skip: noCuda }, async (t) => {
  const { folder, dataset } = await tinySet(t);
  setDefaultDevice('cuda');
  const manifest = await trained(dataset, join(folder, 'fp16'), { precision: 'fp16' });
  assert.equal(manifest.steps, 18);
});
