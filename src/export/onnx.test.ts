import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { drawState } from '../../test/helpers/weights.ts';
import { Rng } from '../base/rng.ts';
import { pixelMappings, pixelPresets } from '../data/pixels.ts';
import { embedWith } from '../encoders/index.ts';
import { OnnxSession } from '../encoders/onnx-session.ts';
import { unitDifference } from '../encoders/unit-difference.ts';
import { type BackboneName, type BackboneOptions, backbones, makeBackbone } from '../models/index.ts';
import { Linear, type Module } from '../nn/index.ts';
import { mul_, noGrad, setThreads, zero_ } from '../torch/index.ts';
import { exportedInput } from './onnx-check.ts';
import { encodeOnnx } from './onnx-file.ts';
import { type OnnxOptions, onnxModel } from './onnx-model.ts';

/** Two float32 computations of one network, other algorithms and other order of sums: of unit embeddings. */
const FLOAT32_UNIT = 1e-4;
/** Weights rounded to 11 bits. */
const HALF_COSINE = 0.999;
/** Length of a vector of float32. */
const FLOAT32_LENGTH = 1e-6;

before(() => setThreads(1));

const OPTIONS: OnnxOptions = {
  ...{ side: 32, dim: 8, pixels: 'mapped', mapping: pixelMappings.train, unitLength: false, half: false, metadata: {} },
};
type Changes = Partial<OnnxOptions>;

/** Bytes of pictures that are not alike: each has its own stripes under the noise. */
function pictures(count: number, side: number): Uint8Array {
  const rng = new Rng(count);
  return Uint8Array.from({ length: count * side * side * 3 }, (_, i) => {
    const [image, at] = [Math.floor(i / (side * side * 3)), i % (side * side * 3)];
    return Math.floor(100 + 80 * Math.sin((image + 1) * at * 0.01)) + rng.integer(70);
  });
}

/** A backbone of drawn weights, 1/16 as wide unless told otherwise. */
function drawn(name: BackboneName, options: Partial<BackboneOptions> = {}): Module {
  const size = { embeddingDim: OPTIONS.dim, inputSide: OPTIONS.side, width: 1 / 16, ...options };
  const backbone = makeBackbone(name, size, new Rng(0));
  drawState(backbone, new Rng(7));
  return backbone;
}

type Modules = { readonly backbone: Module; readonly projection: Linear | null };

/** What ONNX Runtime and libtorch make of as many pictures as each of `counts` says. */
async function both(modules: Modules, counts: readonly number[], changes: Changes = {}) {
  const options = { ...OPTIONS, ...changes };
  using session = await OnnxSession.open(encodeOnnx(onnxModel(modules, options)), 'this test');
  const about = { ...exportedInput(options.pixels, options.mapping), side: options.side, dim: options.dim };
  const found: { rows: Float32Array; ours: Float32Array }[] = [];
  for (const count of counts) {
    const images = pictures(count, options.side);
    const rows = await session.embed(images, count, about);
    assert.equal(rows.length, count * options.dim);
    found.push({
      rows,
      ours: await embedWith(modules, { side: options.side, pixels: options.mapping })(images, count),
    });
  }
  return found;
}

const seven = async (modules: Modules, changes: Changes) => (await both(modules, [7], changes))[0]!;

// r2060 has no layer that r200 lacks, and ONNX Runtime takes ten seconds to open its thousand blocks
for (const name of (Object.keys(backbones) as BackboneName[]).filter((one) => one !== 'r2060'))
  test(`${name} computes in ONNX Runtime what it does here, one image and seven`, async () => {
    const backbone = drawn(name);
    for (const { rows, ours } of await both({ backbone, projection: null }, [1, 7])) {
      assert.ok(unitDifference(ours, rows, OPTIONS.dim).largest < FLOAT32_UNIT);
      const [first, last] = [ours.slice(0, OPTIONS.dim), ours.slice(-OPTIONS.dim)];
      const isOne = ours.length === OPTIONS.dim;
      assert.ok(isOne || unitDifference(first, last, OPTIONS.dim).largest > 10 * FLOAT32_UNIT, 'images differ');
    }
    backbone.dispose();
  });

test('width, side and D are free; a side need not be a multiple of the patches', async () => {
  for (const [name, options] of [
    ['r18', { width: 1 / 8, inputSide: 48, embeddingDim: 5 }],
    ['mbf', { width: 1 / 4, inputSide: 16, embeddingDim: 3 }],
    ['vit_t', { width: 1 / 8, inputSide: 48, embeddingDim: 6 }],
  ] as const) {
    const backbone = drawn(name, options);
    const changes = { side: options.inputSide, dim: options.embeddingDim };
    const { rows, ours } = await seven({ backbone, projection: null }, changes);
    assert.ok(unitDifference(ours, rows, changes.dim).largest < FLOAT32_UNIT, name);
    backbone.dispose();
  }
});

test('bytes of pictures, weights in float16, a projection and unit length are parts of the graph', async () => {
  for (const name of ['r18', 'mbf', 'vit_t'] as const) {
    const backbone = drawn(name);
    const bytes = await seven({ backbone, projection: null }, { pixels: 'uint8-nhwc' });
    assert.ok(unitDifference(bytes.ours, bytes.rows, OPTIONS.dim).largest < FLOAT32_UNIT, name);
    const mapping = { ...pixelPresets.imagenet, channels: 'BGR' } as const;
    const declared = await seven({ backbone, projection: null }, { pixels: 'uint8-nhwc', mapping });
    assert.ok(unitDifference(declared.ours, declared.rows, OPTIONS.dim).largest < FLOAT32_UNIT, name);
    assert.ok(unitDifference(declared.ours, bytes.ours, OPTIONS.dim).largest > FLOAT32_UNIT, 'the mapping counts');
    const half = await seven({ backbone, projection: null }, { half: true });
    const { cosine, largest } = unitDifference(half.ours, half.rows, OPTIONS.dim);
    assert.ok(cosine >= HALF_COSINE && largest > 0, `${name}: ${cosine}`);
    const projection = new Linear(OPTIONS.dim, 5, { bias: false }, new Rng(3));
    const projected = await seven({ backbone, projection }, { dim: 5, unitLength: true });
    assert.ok(unitDifference(projected.ours, projected.rows, 5).largest < FLOAT32_UNIT, name);
    for (let row = 0; row < 7; row++)
      assert.ok(Math.abs(Math.hypot(...projected.rows.subarray(5 * row, 5 * row + 5)) - 1) < FLOAT32_LENGTH);
    for (const module of [backbone, projection]) module.dispose();
  }
});

test('an embedding of zeros stays one at unit length', async () => {
  const backbone = drawn('r18');
  const projection = new Linear(OPTIONS.dim, 4, { bias: false }, new Rng(3));
  noGrad(() => zero_(projection.weight));
  const { rows } = await seven({ backbone, projection }, { dim: 4, unitLength: true });
  assert.deepEqual([...rows], new Array(7 * 4).fill(0));
  for (const module of [backbone, projection]) module.dispose();
});

test('half of the bytes are left when weights are float16', () => {
  const backbone = drawn('r18', { width: 1 / 2 });
  const [whole, half] = [false, true].map(
    (half) => encodeOnnx(onnxModel({ backbone, projection: null }, { ...OPTIONS, half })).length,
  ) as [number, number];
  assert.ok(half < 0.52 * whole, `${half} of ${whole}`);
  backbone.dispose();
});

test('what float16 cannot hold stays float32', async () => {
  const backbone = drawn('r18');
  const projection = new Linear(OPTIONS.dim, 4, { bias: false }, new Rng(3));
  noGrad(() => mul_(projection.weight, 1e6));
  const { rows, ours } = await seven({ backbone, projection }, { dim: 4, half: true });
  assert.ok(unitDifference(ours, rows, 4).cosine >= HALF_COSINE);
  for (const module of [backbone, projection]) module.dispose();
});
