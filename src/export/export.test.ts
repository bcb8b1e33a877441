import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { checkpointPath, checkpoints } from '../../test/helpers/checkpoints.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { fill, gap } from '../../test/helpers/formula.ts';
import { oldSide, tinySet, trained } from '../../test/helpers/runs.ts';
import { smallDisk } from '../../test/helpers/small-disk.ts';
import { DiskFullError } from '../artifacts/durable-write.ts';
import { FileError, UserError } from '../base/errors.ts';
import { packageRoot, version } from '../base/version.ts';
import { loadOnnxRuntime } from '../encoders/onnx-runtime.ts';
import { importModel } from '../runs/import-model.ts';
import { loadModel } from '../runs/load-model.ts';
import { runFiles } from '../runs/run-artifact.ts';
import {
  hostTensor,
  liveTensors,
  mul,
  readPytorch,
  readSafetensors,
  scope,
  setThreads,
  toFloat32,
  writeSafetensors,
} from '../torch/index.ts';
import { type ExportOptions, exportModel } from './export-model.ts';

/** Two float32 computations of one network, other algorithms and other order of sums. */
const FLOAT32_NETWORK = 1e-4;
/** The same in PyTorch, on the same weights and the same libtorch: of embeddings above 1 it is a share. */
const PYTORCH = 1e-5;
const HALF = 2 ** -11;

before(() => setThreads(1));

/** Makes a run of a checkpoint that PyTorch wrote. */
async function importedRun(folder: string, network: string) {
  const fixture = checkpoints.networks.find((one) => one.network === network)!;
  const run = join(folder, network);
  await importModel(checkpointPath(fixture.file), fixture, run);
  return { run, fixture };
}

/** A share of the largest number, if that is above 1. */
const relativeGap = (actual: ArrayLike<number>, expected: readonly number[]): number =>
  gap(actual, expected) / Math.max(1, ...expected.map(Math.abs));

for (const { network } of checkpoints.networks)
  test(`${network} of PyTorch, exported to ONNX, gives PyTorch's embeddings in ONNX Runtime`, async (t) => {
    const folder = testFolder(t);
    const { run, fixture } = await importedRun(folder, network);
    const { file } = await exportModel(run, { to: 'onnx', out: join(folder, 'model.onnx') });
    const ort = await loadOnnxRuntime('this test');
    const session = await ort.InferenceSession.create(file, { intraOpNumThreads: 1 });
    const shape = [2, 3, fixture.side, fixture.side];
    const images = scope(() => toFloat32(fill(shape, 0, 0.01, 1, 'float32')));
    const { embeddings } = await session.run({ images: new ort.Tensor('float32', images, shape) });
    await session.release();
    assert.ok(relativeGap(embeddings!.data as Float32Array, fixture.embeddings.flat()) < FLOAT32_NETWORK);
  });

test('PyTorch and safetensors files come back as they went out, names, order and bytes', async (t) => {
  const folder = testFolder(t);
  const { run, fixture } = await importedRun(folder, 'vit_t');
  const before = liveTensors();
  for (const [to, ending] of [
    ['pytorch', 'pt'],
    ['safetensors', 'safetensors'],
  ] as const) {
    const { file } = await exportModel(run, { to, out: join(folder, `model.${ending}`) });
    await importModel(file, fixture, join(folder, to));
    assert.deepEqual(readFileSync(runFiles(join(folder, to)).model), readFileSync(runFiles(run).model), to);
    const half = await exportModel(run, { to, out: join(folder, `half.${ending}`), half: true });
    assert.ok(half.bytes < 0.65 * readFileSync(file).length);
    await importModel(half.file, fixture, join(folder, `${to}-half`));
    scope(() => {
      const exact = readSafetensors(runFiles(run).model).tensors;
      const rounded = readSafetensors(runFiles(join(folder, `${to}-half`)).model).tensors;
      for (const [name, x] of exact) {
        if (x.dtype !== 'float32') continue;
        const [a, b] = [toFloat32(x), toFloat32(rounded.get(name)!)];
        assert.ok(gap(b, a) <= (x.shape.length > 1 ? HALF * Math.max(...a.map(Math.abs)) : 0), name);
      }
    });
  }
  const names = [...(await readPytorch(join(folder, 'model.pt'))).keys()];
  assert.deepEqual(names, stateNames(run), 'the names of the state, in its order');
  assert.equal(liveTensors(), before);
});

test('a weight that float16 cannot hold keeps its tensor in float32, in every format', async (t) => {
  const folder = testFolder(t);
  const { run, fixture } = await importedRun(folder, 'mbf');
  const [large, weights] = [join(folder, 'large'), join(folder, 'large.safetensors')];
  const state = scope(() => {
    const { tensors } = readSafetensors(runFiles(run).model);
    const [name, x] = [...tensors].find(([, { shape }]) => shape.length > 1)!;
    tensors.set(name, mul(x, 1e6));
    writeSafetensors(weights, tensors);
    return { name, numbers: toFloat32(tensors.get(name)!) };
  });
  await importModel(weights, fixture, large);
  for (const [to, read] of [
    ['pytorch', readPytorch],
    [
      'safetensors',
      async (path: string) => new Map([...readSafetensors(path).tensors].map(([name, x]) => [name, hostTensor(x)])),
    ],
  ] as const) {
    const { file } = await exportModel(large, {
      to,
      out: join(folder, `half.${to === 'pytorch' ? 'pt' : to}`),
      half: true,
    });
    const tensors = await read(file);
    const { dtype, bytes } = tensors.get(state.name)!;
    assert.equal(dtype, 'float32');
    assert.ok(Buffer.from(bytes).equals(Buffer.from(state.numbers.buffer)));
    assert.ok([...tensors.values()].some((other) => other.dtype === 'float16'));
  }
});

function stateNames(run: string): string[] {
  const model = loadModel(run);
  const names = [...model.backbone.state()].map(([name]) => name);
  model.dispose();
  return names;
}

test('PyTorch reads an exported file, weights only, and computes the same', async (t) => {
  const folder = testFolder(t);
  const exported = [];
  for (const { network } of checkpoints.networks) {
    const { run, fixture } = await importedRun(folder, network);
    const { file } = await exportModel(run, { to: 'pytorch', out: join(folder, `${network}.pt`) });
    exported.push({ fixture, words: [file, network, fixture.embeddingDim, fixture.side, fixture.width].join() });
  }
  const script = join(packageRoot, 'test/golden/read_exported.py');
  const { status, stdout, stderr, error } = spawnSync('python3', [script, ...exported.map(({ words }) => words)], { encoding: 'utf8' }); // biome-ignore format: short
  if (error || /No module named 'torch'/.test(stderr)) return t.skip('python3 has no torch');
  assert.equal(status, 0, stderr);
  for (const [i, line] of stdout.trim().split('\n').entries())
    assert.ok(relativeGap(JSON.parse(line), exported[i]!.fixture.embeddings.flat()) < PYTORCH, exported[i]!.words);
  assert.equal(stdout.trim().split('\n').length, exported.length);
});

test('of a trained run with a projection, both spaces; the file and its card tell what it is', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  const side = await oldSide(folder, dataset);
  const network = { name: 'r18', embeddingDim: 12, inputSide: 16, width: 0.0625 };
  const run = join(folder, 'new');
  await trained(
    dataset,
    run,
    { network, method: { kind: 'l2' }, projection: { dim: 8 }, name: 'a | b' },
    { paths: { features: side.features } },
  );
  const digests = new Set<string>();
  for (const [space, dim] of [
    ['own', 12],
    ['old', 8],
  ] as const) {
    const out = join(folder, `${space}.onnx`);
    const options = { to: 'onnx', out, space, unitLength: true, pixels: 'uint8-nhwc', check: prefix } as const;
    const { check, metadata, card } = await exportModel(run, options);
    assert.ok(check!.images === dataset.size && check!.largest < FLOAT32_NETWORK && check!.cosine > 0.9999);
    digests.add(metadata['model']!);
    const told = { mixbct: version, name: 'a | b', embedding_dim: String(dim), side: '16', space, unit_length: 'true' };
    for (const [key, value] of Object.entries(told)) assert.equal(metadata[key], value);
    const ending = readFileSync(out).subarray(-1000).toString('latin1');
    for (const text of Object.entries(metadata).flat()) assert.ok(ending.includes(text), text);
    const words = readFileSync(card, 'utf8');
    assert.match(words, /Trained on set: 50 images of 6 classes/);
    assert.match(words, /Method l2, .* compatible with an old model/);
    assert.match(words, /\| name \| a \\\| b \|/);
    assert.ok(!words.includes(prefix), 'no paths of this machine');
  }
  assert.equal(digests.size, 2, 'each space has a digest');
  const { file } = await exportModel(run, { to: 'safetensors', out: join(folder, 'old.safetensors'), space: 'old' });
  scope(() => assert.deepEqual(readSafetensors(file).tensors.get('projection.weight')!.shape, [8, 12]));
});

test('the same run gives the same bytes', async (t) => {
  const folder = testFolder(t);
  const { run } = await importedRun(folder, 'mbf');
  for (const to of ['onnx', 'pytorch', 'safetensors'] as const) {
    const files = [];
    for (const name of ['a', 'b']) files.push(await exportModel(run, { to, out: join(folder, name, 'model') }));
    assert.deepEqual(readFileSync(files[0]!.file), readFileSync(files[1]!.file), to);
    assert.deepEqual(readFileSync(files[0]!.card), readFileSync(files[1]!.card), to);
    for (const name of ['a', 'b']) rmSync(join(folder, name), { recursive: true });
  }
});

test('a file that does not fit on the disk leaves the former one, and its card', async (t) => {
  const folder = testFolder(t);
  const { run } = await importedRun(folder, 'mbf');
  const { bytes } = await exportModel(run, { to: 'pytorch', out: join(folder, 'model.pt') });
  const disk = smallDisk(t, Math.ceil(1.25 * bytes)); // takes one of them, and cards
  if (!disk) return;
  const out = join(disk, 'model.pt');
  const { card } = await exportModel(run, { to: 'pytorch', out, half: true });
  const files = () => readdirSync(disk).map((name) => [name, readFileSync(join(disk, name), 'latin1')]);
  const before = files();
  assert.match(readFileSync(card, 'utf8'), /float16/);
  await assert.rejects(exportModel(run, { to: 'pytorch', out, force: true }), DiskFullError);
  assert.deepEqual(files(), before);
});

test('what does not fit is refused, and nothing is written or replaced', async (t) => {
  const folder = testFolder(t);
  const { run } = await importedRun(folder, 'mbf');
  const at = (name: string): string => join(folder, name);
  writeFileSync(at('strange.onnx'), 'irreplaceable');
  writeFileSync(at('noted.onnx.model-card.md'), 'notes');
  await exportModel(run, { to: 'onnx', out: at('there.onnx') });
  const before = readdirSync(folder).sort();
  const cases: readonly (readonly [ExportOptions, RegExp])[] = [
    [{ to: 'onnx', out: at('x'), space: 'old' }, /mbf has no projection/],
    [
      { to: 'pytorch', out: at('x'), unitLength: true, pixels: 'uint8-nhwc' },
      /unit length, pixels in bytes: only an ONNX file/,
    ],
    [{ to: 'onnx', out: at('there.onnx') }, /exists already/],
    [{ to: 'pytorch', out: at('there.onnx'), force: true }, /is not a PyTorch file of mixbct export/],
    [{ to: 'onnx', out: at('strange.onnx'), force: true }, /is not an ONNX file of mixbct export/],
    [{ to: 'onnx', out: at('noted.onnx') }, /noted.onnx.model-card.md is not a model card/],
    [{ to: 'onnx', out: run, force: true }, /never replaced|is not an ONNX file/],
    [{ to: 'onnx', out: join(run, 'model.onnx') }, /lies inside/],
  ];
  for (const [options, message] of cases)
    await assert.rejects(exportModel(run, options), (error: Error) => {
      assert.ok(error instanceof UserError);
      assert.match(error.message, message);
      return true;
    });
  await assert.rejects(exportModel(at('none'), { to: 'onnx', out: at('x') }), FileError);
  assert.deepEqual(readdirSync(folder).sort(), before);
  assert.equal(readFileSync(at('strange.onnx'), 'utf8'), 'irreplaceable');
  const { bytes } = await exportModel(run, { to: 'onnx', out: at('there.onnx'), half: true, force: true });
  assert.equal(readFileSync(at('there.onnx')).length, bytes, 'its own file is replaced');
});
