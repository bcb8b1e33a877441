import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { gap } from '../../test/helpers/formula.ts';
import {
  type OnnxFixture,
  onnxGolden,
  onnxPath,
  onnxPictures,
  type TinyOnnx,
  writeTinyOnnx,
} from '../../test/helpers/onnx.ts';
import { tinySet, trained } from '../../test/helpers/runs.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { FileError, UserError } from '../base/errors.ts';
import { exportModel } from '../export/export-model.ts';
import { dataType } from '../export/onnx-file.ts';
import { liveTensors, setThreads } from '../torch/index.ts';
import { importModelFile, type ModelDeclaration } from './import-model-file.ts';
import { digestOfInit } from './initial-weights.ts';
import { loadModel } from './load-model.ts';
import { openEncoder } from './open-encoder.ts';

/** Two float32 computations of one network, other algorithms and other order of sums. */
const FLOAT32_NETWORK = 1e-4;
/** float16 has 11 bits; embeddings of order 1 are sums of rounded numbers. */
const FLOAT16_NETWORK = 4e-3;

before(() => setThreads(1));

const [rgb, bgr] = onnxGolden.files;
const declaredOf = ({ channels, mean, std, layout }: OnnxFixture): ModelDeclaration => ({
  channels,
  mean,
  std,
  layout,
});

for (const fixture of onnxGolden.files)
  test(`${fixture.file} of PyTorch embeds as it does there: ${fixture.channels}, ${fixture.layout}`, async (t) => {
    const out = join(testFolder(t), 'old');
    const declared = { ...declaredOf(fixture), output: 'embedding', name: 'theirs' };
    const manifest = await importModelFile(onnxPath(fixture.file), declared, out);
    const { batch, layout } = fixture;
    assert.deepEqual([manifest.name, manifest.onnx!.batch, manifest.onnx!.layout], ['theirs', batch, layout]);
    const tensors = liveTensors();
    using encoder = await openEncoder(out);
    assert.deepEqual([encoder.dim, encoder.side, encoder.name], [onnxGolden.dim, onnxGolden.side, 'theirs']);
    const { pixels } = encoder;
    assert.deepEqual(pixels, { channels: fixture.channels, mean: fixture.mean, std: fixture.std });
    const images = onnxPictures(onnxGolden);
    const { count } = onnxGolden;
    const all = await encoder.embed(images, count);
    assert.equal(all.length, fixture.embeddings.length);
    const tolerance = fixture.half ? FLOAT16_NETWORK : FLOAT32_NETWORK;
    assert.equal(manifest.onnx!.type, fixture.half ? 'float16' : 'float32');
    assert.ok(gap(all, fixture.embeddings) < tolerance, String(gap(all, fixture.embeddings)));
    for (const few of [1, 4, 5]) {
      const some = await encoder.embed(images, few);
      assert.equal(some.length, few * onnxGolden.dim);
      assert.ok(gap(some, all.subarray(0, some.length)) < tolerance, `${few} images`);
    }
    assert.equal(liveTensors(), tensors);
  });

test('the only output with two dimensions is found, and what is declared is part of the digest', async (t) => {
  const folder = testFolder(t);
  const digests = new Set<string>();
  for (const [i, declared] of [
    { pixels: 'unit' },
    { pixels: 'imagenet' },
    { pixels: 'imagenet', channels: 'BGR' },
    { pixels: 'imagenet', resize: 'fit' },
    { mean: rgb.mean, std: rgb.std },
  ].entries()) {
    const manifest = await importModelFile(onnxPath(rgb.file), declared as ModelDeclaration, join(folder, `${i}`));
    assert.equal(manifest.onnx!.output, 'embedding');
    digests.add(manifest.model);
  }
  assert.equal(digests.size, 4, 'imagenet is its numbers');
});

test('an ONNX model has no backbone, projection or precision, and a changed file is refused', async (t) => {
  const folder = testFolder(t);
  const run = join(folder, 'run');
  await importModelFile(onnxPath(rgb.file), declaredOf(rgb), run);
  assert.throws(() => loadModel(run), /holds an ONNX model, which only embeds/);
  assert.throws(() => digestOfInit({ from: run, parts: ['backbone'], partial: false }), /holds an ONNX model/);
  await assert.rejects(exportModel(run, { to: 'pytorch', out: join(folder, 'x.pt') }), /holds an ONNX model/);
  assert.ok(!existsSync(join(folder, 'x.pt')));
  await assert.rejects(openEncoder(run, { space: 'old' }), /has no projection/);
  await assert.rejects(openEncoder(run, { precision: 'bf16' }), /its own precision: bf16 was asked for/);
  await assert.rejects(openEncoder(run, { pixels: 'ijb' }), /declares its own mapping of pixels/);
  truncateSync(join(run, 'model.onnx'), 9000);
  await assert.rejects(openEncoder(run), /model\.onnx: was changed or damaged since it was made/);
});

test('files of mixbct export need no declaration and embed as the run does, floats and bytes', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  const input = { pixels: 'imagenet', channels: 'BGR', resize: 'fit', background: [1, 2, 3] };
  await trained(dataset, at('plain'), { epochs: 1, name: 'plain model' });
  await trained(dataset, at('declared'), { epochs: 1, input });
  const images = Uint8Array.from({ length: 3 * 16 * 16 * 3 }, (_, k) => 97 * k);
  for (const run of ['plain', 'declared'])
    for (const pixels of ['mapped', 'uint8-nhwc'] as const) {
      const [file, back] = [at(`${run}-${pixels}.onnx`), at(`${run}-${pixels}`)];
      await exportModel(at(run), { to: 'onnx', out: file, pixels });
      const { name } = await importModelFile(file, {}, back);
      assert.equal(name, run === 'plain' ? 'plain model' : 'declared');
      using encoder = await openEncoder(at(run));
      using again = await openEncoder(back);
      assert.ok(gap(await again.embed(images, 3), await encoder.embed(images, 3)) < FLOAT32_NETWORK, back);
      assert.deepEqual(again.resize, encoder.resize);
      if (pixels === 'mapped') assert.deepEqual(again.pixels, encoder.pixels);
      await assert.rejects(importModelFile(file, { pixels: 'unit' }, at('x')), /a mapping is declared/);
    }
  using stretched = await (async () => {
    await importModelFile(at('declared-mapped.onnx'), { resize: 'crop' }, at('crop'));
    return await openEncoder(at('crop'));
  })();
  assert.deepEqual([stretched.resize.rule, stretched.pixels.channels], ['crop', 'BGR']);
  const manifest = await importModelFile(at('declared-mapped.onnx'), { channels: 'RGB' }, at('unsaid'));
  assert.equal((manifest.recipe as { input?: { resize?: string } }).input!.resize, 'fit');
});

test('weights beside the file come along, and are checked', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  writeFileSync(at('weights.bin'), new Uint8Array(Float32Array.of(1, 2, 3).buffer));
  writeTinyOnnx(at('model.onnx'), { weightsIn: 'weights.bin' });
  const { contents } = await importModelFile(at('model.onnx'), { mean: 0, std: 1 }, at('run'));
  assert.deepEqual(contents, ['model.onnx', 'weights.bin']);
  await importModelFile(at('model.onnx'), { mean: 0, std: 1 }, at('run'), { force: true });
  {
    using encoder = await openEncoder(at('run'));
    assert.deepEqual([...(await encoder.embed(new Uint8Array(8 * 8 * 3).fill(10), 1))], [11, 12, 13]);
  }
  writeFileSync(join(at('run'), 'weights.bin'), new Uint8Array(12));
  await assert.rejects(openEncoder(at('run')), /weights\.bin: was changed or damaged/);
});

test('weights outside of the folder of the file are never read', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  mkdirSync(at('in'));
  mkdirSync(at('in/sub'));
  for (const name of ['secret.bin', 'in/sub/secret.bin']) writeFileSync(at(name), new Uint8Array(12));
  symlinkSync(at('secret.bin'), at('in/link.bin'));
  for (const [name, message] of [
    ['../secret.bin', /"\.\.\/secret\.bin", wanted a file beside it\n.*onnx\.save/],
    ['sub/secret.bin', /wanted a file beside it/],
    ['sub\\secret.bin', /wanted a file beside it/],
    [at('secret.bin'), /wanted a file beside it/],
    ['..', /wanted a file beside it/],
    ['', /wanted a file beside it/],
    ['link.bin', /is a link out of the folder/],
    ['sub', /is a folder, wanted a file/],
    ['missing.bin', /missing\.bin: no such file/],
    ['manifest.json', /is the name of a file of a run/],
  ] as const) {
    writeFileSync(at('in/manifest.json'), '{}');
    writeTinyOnnx(at('in/model.onnx'), { weightsIn: name });
    await assert.rejects(importModelFile(at('in/model.onnx'), { pixels: 'unit' }, at('out')), message, name);
    assert.ok(!existsSync(at('out')));
  }
});

test('what is no model from square pictures to vectors is refused in words, and nothing is left', async (t) => {
  const folder = testFolder(t);
  const file = join(folder, 'model.onnx');
  const refused = async (declared: ModelDeclaration, message: RegExp): Promise<void> => {
    await assert.rejects(importModelFile(file, declared, join(folder, 'out')), (error) => {
      assert.ok(error instanceof FileError || error instanceof UserError, String(error));
      assert.match(error.message, message);
      return true;
    });
    assert.deepEqual(readdirSync(folder), ['model.onnx']);
  };
  const unit: ModelDeclaration = { pixels: 'unit' };
  const two = { embedding: ['batch', 3], logits: ['batch', 3] };
  const cases: readonly (readonly [TinyOnnx, ModelDeclaration, RegExp])[] = [
    [{}, {}, /does not say how pixels become its input\n.*--pixels.*--mean/],
    [{}, { ...unit, output: 'features' }, /has no output features \(embedding: float32 \[batch, 3\]\)\n.*--output/],
    [{ outputs: two }, unit, /several outputs with two dimensions \(embedding.*logits.*\)\n.*--output/],
    [
      { outputs: { maps: ['batch', 3, 8, 8] } },
      unit,
      /has no output with two dimensions \(maps: float32 \[batch, 3, 8, 8\]\)/,
    ],
    [
      { outputs: { maps: ['batch', 3, 8, 8] } },
      { ...unit, output: 'maps' },
      /are no embeddings, wanted float32 or float16 \[B, D\]/,
    ],
    [{ input: ['batch', 3, 'h', 'w'] }, unit, /leaves its side open\n.*--side/],
    [{ input: ['batch', 3, 'h', 8] }, { ...unit, side: 16 }, /has 8 rows and columns, --side 16 was given/],
    [{ input: ['batch', 3, 8, 6] }, unit, /is no square/],
    [{ input: ['batch', 1, 8, 8] }, unit, /leaves open where the channels are\n.*--layout/],
    [{ input: ['batch', 1, 8, 8] }, { ...unit, layout: 'NCHW' }, /has 1 channels as NCHW, wanted 3/],
    [{ input: [2_000_000_000, 3, 8, 8] }, unit, /is too large/],
    [{ input: ['batch', 3, 4096, 4096] }, unit, /is too large/],
    [{ input: ['batch', 3, 8, 8], type: dataType.int64 }, unit, /int64 .*wanted float32, float16 or uint8/],
    [{ type: dataType.uint8 }, unit, /maps pixels itself/],
    [{ domain: 'my.ops' }, unit, /ONNX Runtime cannot load it \(.*my\.ops/],
    [{ metadata: { mixbct: '0.3.0', input: '{"mean":3}' } }, {}, /its metadata "input" is damaged/],
    [{}, { ...unit, network: 'r18', width: 1 }, /--network and --width is for PyTorch/],
    [{}, { ...unit, mean: 1, std: 1 }, /one or the other/],
    [{}, { ...unit, name: ' ' }, /--name: wanted a name/],
  ];
  for (const [model, declared, message] of cases) {
    writeTinyOnnx(file, model);
    await refused(declared, message);
  }
  for (const bytes of ['', 'junk', readFileSync(onnxPath(bgr.file)).subarray(0, 9000)]) {
    writeFileSync(file, bytes);
    await refused(unit, /is empty|is no ONNX file|holds no graph/);
  }
});

test('options of ONNX files are refused for others, whose backbone must be named', async (t) => {
  const out = join(testFolder(t), 'out');
  await assert.rejects(
    async () => importModelFile('model.pt', { layout: 'NCHW', output: 'x' }, out),
    /--layout and --output is for ONNX/,
  );
  await assert.rejects(async () => importModelFile('model.pt', {}, out), /the backbone .* is not known\n.*--network/);
});

test('bytes go in as they are, in the order that is declared, in either layout', async (t) => {
  const folder = testFolder(t);
  const images = Uint8Array.from({ length: 2 * 8 * 8 * 3 }, (_, k) => [10, 20, 30][k % 3]! + Math.floor(k / 192));
  for (const [name, input, channels] of [
    ['planes', ['batch', 3, 8, 8], 'RGB'],
    ['rows', ['batch', 8, 8, 3], 'BGR'],
  ] as const) {
    const file = join(folder, `${name}.onnx`);
    writeTinyOnnx(file, { type: dataType.uint8, input });
    await importModelFile(file, { channels }, join(folder, name));
    using encoder = await openEncoder(join(folder, name));
    const expected = [10, 20, 30, 11, 21, 31];
    const turned = [30, 20, 10, 31, 21, 11];
    assert.deepEqual([...(await encoder.embed(images, 2))], channels === 'RGB' ? expected : turned, name);
  }
});

test('a manifest with a damaged interface is refused', async (t) => {
  const run = join(testFolder(t), 'run');
  await importModelFile(onnxPath(rgb.file), declaredOf(rgb), run);
  const manifest = readJson(join(run, 'manifest.json')) as { onnx: object };
  writeJson(join(run, 'manifest.json'), { ...manifest, onnx: { ...manifest.onnx, batch: 0 } });
  await assert.rejects(openEncoder(run), /"onnx\.batch" is damaged/);
});
