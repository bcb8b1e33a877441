import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { imageTensor } from '../data/collate.ts';
import { pixelMappings } from '../data/pixels.ts';
import { makeBackbone } from '../models/index.ts';
import { Linear } from '../nn/index.ts';
import { inference, liveTensors, scope, toFloat32 } from '../torch/index.ts';
import { type BackboneEncoderOptions, backboneEncoder } from './backbone-encoder.ts';

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
