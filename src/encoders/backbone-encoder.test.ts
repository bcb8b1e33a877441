import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { imageTensor } from '../data/collate.ts';
import { pixelMappings } from '../data/pixels.ts';
import { makeBackbone } from '../models/index.ts';
import { Linear } from '../nn/index.ts';
import { allocatorStats, inference, liveTensors, scope, setThreads, threads, toFloat32 } from '../torch/index.ts';
import { type BackboneEncoderOptions, backboneEncoder } from './backbone-encoder.ts';
import { unitDifference } from './unit-difference.ts';

const [SIDE, DIM, OLD_DIM, COUNT] = [16, 6, 4, 3];
const images = Uint8Array.from({ length: COUNT * SIDE * SIDE * 3 }, (_, k) => (97 * k) % 256);

/** A small backbone, and a projection for the old space. */
function modules(space: 'own' | 'old') {
  const rng = new Rng(5);
  const options = { embeddingDim: DIM, inputSide: SIDE, width: 1 / 32 };
  const backbone = makeBackbone('r18', options, rng.split('backbone'));
  const projection = space === 'old' ? new Linear(DIM, OLD_DIM, { bias: false }, rng.split('projection')) : null;
  return { backbone, projection };
}

const about = (changes: Partial<BackboneEncoderOptions> = {}): BackboneEncoderOptions => ({
  ...{ name: 'r18', digest: 'd', preset: 'default', differences: [], trainedOn: null },
  ...{ space: 'own', dim: DIM, side: SIDE },
  ...changes,
});

test('an encoder embeds like its modules in evaluation mode, in either space, with either mapping of pixels', async () => {
  for (const space of ['own', 'old'] as const)
    for (const pixels of [pixelMappings.train, pixelMappings.ijb]) {
      const { backbone, projection } = modules(space);
      using encoder = backboneEncoder({ backbone, projection }, about({ space, pixels }));
      const direct = inference(() =>
        scope(() => {
          const embeddings = backbone.forward(imageTensor({ images, count: COUNT, side: SIDE }, pixels), {
            train: false,
          });
          return toFloat32(projection ? projection.forward(embeddings) : embeddings);
        }),
      );
      assert.equal(direct.length, COUNT * (space === 'old' ? OLD_DIM : DIM));
      assert.deepEqual(await encoder.embed(images, COUNT), direct);
      assert.deepEqual([encoder.pixels, encoder.precision, encoder.device], [pixels, 'float32', 'cpu']);
    }
});

test('embeddings are arrays of their own, of the first images, and running statistics stay; disposal frees all tensors', async () => {
  const before = liveTensors();
  {
    using encoder = backboneEncoder(modules('old'), about({ space: 'old', dim: OLD_DIM }));
    const loaded = liveTensors();
    assert.ok(loaded > before);
    const first = await encoder.embed(images, COUNT);
    const kept = first.slice();
    const [second, one] = await Promise.all([encoder.embed(images, COUNT), encoder.embed(images, 1)]);
    assert.deepEqual([first, second], [kept, kept]);
    assert.equal(one.length, OLD_DIM);
    assert.equal(liveTensors(), loaded);
  }
  assert.equal(liveTensors(), before);
});

/** Libtorch divides a convolution by batch size and threads: sums of float32 in another order. */
const OTHER_ORDER = 1e-6;

test('embeddings do not depend on the batch size but for rounding, nor on the threads, and equal batches give equal bytes', async () => {
  const [side, dim, count, before] = [16, 16, 13, threads()];
  const pictures = Uint8Array.from({ length: count * side * side * 3 }, (_, k) => (97 * k + (k >> 5) * 31) % 256);
  const backbone = makeBackbone('r18', { embeddingDim: dim, inputSide: side, width: 1 / 8 }, new Rng(3));
  using encoder = backboneEncoder({ backbone, projection: null }, about({ dim, side }));
  const embedded = async (batch: number): Promise<Float32Array> => {
    const rows = new Float32Array(count * dim);
    for (let from = 0; from < count; from += batch) {
      const n = Math.min(batch, count - from);
      rows.set(await encoder.embed(pictures.subarray(from * side * side * 3), n), from * dim);
    }
    return rows;
  };
  setThreads(1);
  const whole = await embedded(count);
  assert.deepEqual(await embedded(count), whole);
  for (const batch of [1, 4, 5, 12]) {
    const rows = await embedded(batch);
    assert.deepEqual(await embedded(batch), rows, `batches of ${batch}`);
    assert.ok(unitDifference(rows, whole, dim).largest < OTHER_ORDER, `batches of ${batch}`);
  }
  setThreads(2);
  assert.ok(unitDifference(await embedded(5), whole, dim).largest < OTHER_ORDER, 'two threads');
  setThreads(before);
});

test('a last batch that is smaller takes no memory beside what the full ones left', async () => {
  const [side, count] = [32, 64];
  const pictures = new Uint8Array(count * side * side * 3);
  const backbone = makeBackbone('r18', { embeddingDim: DIM, inputSide: side, width: 1 / 4 }, new Rng(3));
  using encoder = backboneEncoder({ backbone, projection: null }, about({ side }));
  const peak = async (n: number): Promise<number> => {
    await encoder.embed(pictures, n);
    return allocatorStats().peakBytes;
  };
  await peak(count);
  const full = await peak(count);
  assert.equal(await peak(50), full);
});
