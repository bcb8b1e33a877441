import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import {
  type CheckpointFixture,
  checkpointPath,
  checkpoints,
  oddCheckpointPath,
  oddCheckpoints,
} from '../../test/helpers/checkpoints.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { fill, gap } from '../../test/helpers/formula.ts';
import { golden } from '../../test/helpers/golden.ts';
import { oldSide, tinySet, trained } from '../../test/helpers/runs.ts';
import { smallDisk } from '../../test/helpers/small-disk.ts';
import { fileDigest } from '../artifacts/digest.ts';
import { FileError, UserError } from '../base/errors.ts';
import { packageRoot } from '../base/version.ts';
import { imageTensor } from '../data/collate.ts';
import { pixelMappings } from '../data/pixels.ts';
import { exportModel } from '../export/export-model.ts';
import { extractFeatures, FeatureSet } from '../features/index.ts';
import { inference, liveTensors, readSafetensors, scope, toFloat32, writeSafetensors } from '../torch/index.ts';
import { importModel } from './import-model.ts';
import { loadModel } from './load-model.ts';
import { type EncoderOptions, openEncoder } from './open-encoder.ts';
import { type RunManifest, runFiles } from './run-artifact.ts';

/**
 * A whole network in float32 against the same in PyTorch: other convolution algorithms, other order of sums. Of embeddings
 * above 1 (narrow networks with the formula's weights make some of 700) it is a share.
 */
const FLOAT32_NETWORK = 1e-4;

type ImportedInput = Parameters<typeof importModel>[1]['input'];

const fixtures = checkpoints.networks;
const [r18, r50] = ['r18', 'r50'].map((name) => fixtures.find(({ network }) => network === name)!) as [
  CheckpointFixture,
  CheckpointFixture,
];

/** Imports a checkpoint and runs what came of it. → largest difference to what PyTorch made of the same input, as said above */
async function distance(path: string, out: string, { side, embeddings, ...about }: CheckpointFixture): Promise<number> {
  const manifest = await importModel(path, { ...about, side }, out);
  assert.equal(manifest.recipe.network.embeddingDim, about.embeddingDim, 'D is found in the file');
  const model = loadModel(out);
  const input = (): ReturnType<typeof fill> => fill([2, 3, side, side], 0, 0.01, 1, 'float32');
  const worst = inference(() => scope(() => gap(model.backbone.forward(input(), { train: false }), embeddings.flat())));
  model.dispose();
  return worst / Math.max(1, ...embeddings.flat().map(Math.abs));
}

for (const fixture of fixtures)
  test(`${fixture.file}, saved by PyTorch, embeds as it does there`, async (t) => {
    const out = join(testFolder(t), 'old');
    const before = liveTensors();
    assert.ok((await distance(checkpointPath(fixture.file), out, fixture)) < FLOAT32_NETWORK);
    const { manifest } = loaded(out);
    assert.deepEqual([...manifest.imported!.leftOut].sort(), [...fixture.leftOut].sort());
    assert.equal(liveTensors(), before);
  });

test('a model that does not fit on the disk is refused before it is written', async (t) => {
  const disk = smallDisk(t, 64 * 1024);
  if (!disk) return;
  const out = join(disk, 'old');
  await assert.rejects(
    importModel(checkpointPath(r18.file), r18, out),
    (error) => error instanceof UserError && /old: need [\d.]+ [kM]B, have [\d.]+ kB in /.test(error.message),
  );
  assert.deepEqual(readdirSync(disk), []);
});

for (const fixture of oddCheckpoints.networks)
  test(`${fixture.file} embeds as in PyTorch, whatever stands around its state`, async (t) => {
    const out = join(testFolder(t), 'old');
    assert.ok((await distance(oddCheckpointPath(fixture.file), out, fixture)) < FLOAT32_NETWORK);
  });

test('prefixes of wrappers are taken off in any order, when that makes the names fit, and told', async (t) => {
  const folder = testFolder(t);
  const out = join(folder, 'out');
  const importing = async (
    prefixes: readonly string[],
    others: readonly string[] = [],
  ): Promise<RunManifest['imported']> => {
    const file = join(folder, 'renamed.safetensors');
    await importModel(checkpointPath(r18.file), r18, join(folder, 'whole'), { force: true });
    scope(() => {
      const { tensors } = readSafetensors(runFiles(join(folder, 'whole')).model);
      const renamed = prefixes.flatMap((prefix) => [...tensors].map(([name, x]) => [prefix + name, x] as const));
      writeSafetensors(file, new Map([...renamed, ...others.map((name) => [name, tensors.get('bn1.bias')!] as const)]));
    });
    return (await importModel(file, r18, out, { force: true })).imported;
  };
  for (const prefix of ['', 'module.', '_orig_mod.', 'module._orig_mod.', 'model.backbone.', 'module.model._orig_mod.'])
    assert.equal((await importing([prefix]))!.prefix, prefix);
  const beside = await importing(['module.backbone.'], ['module.head.weight', 'conv1.weight']);
  assert.deepEqual([beside!.prefix, beside!.leftOut], ['module.backbone.', ['module.head.weight', 'conv1.weight']]);
  await assert.rejects(importing(['model.', 'backbone.']), /several times, under model\. and backbone\./);
  await assert.rejects(importing(['teacher.']), /conv1\.weight is missing/);
});

function loaded(out: string) {
  const model = loadModel(out);
  model.dispose();
  return model;
}

test('checkpoints of full size, written by PyTorch here and now, give the reference’s numbers (8.13)', async (t) => {
  const folder = testFolder(t);
  mkdirSync(join(folder, 'pt'));
  const script = join(packageRoot, 'test/golden/make_state_dicts.py');
  const { status, stderr, error } = spawnSync('python3', [script, '--full', join(folder, 'pt')], { encoding: 'utf8', env: withFetchedTorch() }); // biome-ignore format: short
  if (error || (status !== 0 && !canImportTorch())) return t.skip('no python3 here can import torch');
  assert.equal(status, 0, stderr);
  const vectors = golden('parity_vectors.json').backbones;
  const written: CheckpointFixture[] = JSON.parse(readFileSync(join(folder, 'pt/embeddings.json'), 'utf8'));
  for (const full of written) {
    const expected: number[][] = vectors[`${full.network}_torch.float32_eval`];
    assert.ok(gap(full.embeddings.flat(), expected.flat()) < FLOAT32_NETWORK, `${full.network} of the script`);
    const off = await distance(join(folder, 'pt', full.file), join(folder, full.network), {
      ...full,
      embeddings: expected,
    });
    assert.ok(off < FLOAT32_NETWORK, `${full.network}: ${off}`);
  }
});

/** The environment in which python3 finds the torch that set-up has fetched, if it has, before its own. */
function withFetchedTorch(): NodeJS.ProcessEnv {
  const wheel = join(packageRoot, '.libtorch/wheel');
  const before = process.env['PYTHONPATH'];
  return existsSync(wheel)
    ? { ...process.env, PYTHONPATH: [wheel, ...(before ? [before] : [])].join(delimiter) }
    : process.env;
}

/** Whether python3 has torch with all that it needs: the wheel alone lacks modules. */
const canImportTorch = (): boolean =>
  spawnSync('python3', ['-c', 'import torch'], { env: withFetchedTorch() }).status === 0;

test('a safetensors file is taken in too, and what comes out embeds a data set', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const out = join(folder, 'old');
  await importModel(checkpointPath(r18.file), r18, out);
  const again = join(folder, 'again');
  const second = await importModel(runFiles(out).model, r18, again, { force: true });
  assert.deepEqual(readFileSync(runFiles(again).model), readFileSync(runFiles(out).model));
  assert.deepEqual([second.dataset, second.steps, second.imported!.leftOut], [null, 0, []]);
  using encoder = await openEncoder(again);
  await extractFeatures(dataset, encoder, { out: join(folder, 'features'), batchSize: 16 });
  const { side } = encoder;
  const images = Uint8Array.from({ length: 2 * side * side * 3 }, (_, k) => 97 * k);
  const embedded = async (options?: EncoderOptions): Promise<Float32Array> => {
    using other = await openEncoder(again, options);
    return await other.embed(images, 2);
  };
  const model = loadModel(again);
  const direct = inference(() =>
    scope(() =>
      toFloat32(model.backbone.forward(imageTensor({ images, count: 2, side }, pixelMappings.ijb), { train: false })),
    ),
  );
  assert.deepEqual(await embedded({ pixels: 'ijb' }), direct);
  assert.deepEqual(await embedded(), await embedded({ pixels: 'train' }));
  assert.notDeepEqual(await embedded(), direct);
  model.dispose();
  using features = FeatureSet.open(join(folder, 'features'));
  assert.equal(features.info.model!.name, 'again');
});

test('weights of mixbct export bring the input of their run along, which is part of the digest of both', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  const input = { pixels: 'imagenet', channels: 'BGR', resize: 'fit', background: [1, 2, 3] } as const;
  const plain = await trained(dataset, at('plain'), { epochs: 1 });
  const run = await trained(dataset, at('run'), { epochs: 1, input });
  const [weights, seen] = ['plain', 'run'].map((name) => fileDigest(runFiles(at(name)).model));
  assert.deepEqual([plain.model, plain.weights, run.weights], [weights, undefined, seen]);
  assert.notEqual(run.model, seen);
  const { name: network, inputSide: side, width } = run.recipe.network;
  const about = { network, side, width: width! };
  using encoder = await openEncoder(at('run'));
  for (const [to, ending] of [
    ['pytorch', 'pt'],
    ['safetensors', 'safetensors'],
  ] as const) {
    const { file } = await exportModel(at('run'), { to, out: at(`run.${ending}`) });
    const importing = async (declared: ImportedInput, name: string) =>
      await importModel(file, { ...about, input: declared }, at(`${to}-${name}`));
    assert.equal((await importing(undefined, 'as-it-is')).model, run.model);
    using again = await openEncoder(at(`${to}-as-it-is`));
    assert.deepEqual([again.pixels, again.resize], [encoder.pixels, encoder.resize]);
    await importing({ channels: 'RGB', resize: 'crop' }, 'crop');
    using cropped = await openEncoder(at(`${to}-crop`));
    assert.deepEqual([cropped.pixels, cropped.resize.rule], [encoder.pixels, 'crop']);
    for (const declared of [{ channels: 'RGB' }, { pixels: 'imagenet', channels: 'BGR' }] as const) {
      const name = `resize-of-the-file-${Object.keys(declared).length}`;
      assert.equal((await importing(declared, name)).model, run.model);
    }
    assert.equal((await importing({ ...input, background: [...input.background] }, 'same')).model, run.model);
    await assert.rejects(
      importing({ pixels: 'imagenet', channels: 'RGB', resize: 'fit' }, 'other'),
      /says how it maps pixels itself .*"BGR".*, and another mapping is declared .*"RGB".*\n.*leave out --pixels/,
    );
    const undeclared = await exportModel(at('plain'), { to, out: at(`plain.${ending}`) });
    assert.equal((await importModel(undeclared.file, about, at(`${to}-plain`))).model, plain.model);
  }
});

test('weights that were exported with the projection to an old space are refused, as no imported backbone has one', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const { features } = await oldSide(folder, dataset);
  const at = (name: string): string => join(folder, name);
  const network = { name: 'r18', embeddingDim: 12, inputSide: 16, width: 0.0625 };
  const changes = { network, method: { kind: 'l2' }, projection: { dim: 8 }, epochs: 1 };
  await trained(dataset, at('run'), changes, { paths: { features } });
  for (const to of ['pytorch', 'safetensors'] as const) {
    const { file } = await exportModel(at('run'), {
      to,
      out: at(to === 'pytorch' ? 'x.pt' : 'x.safetensors'),
      space: 'old',
    });
    await assert.rejects(
      importModel(file, { network: 'r18', side: 16, width: 0.0625 }, at('imported')),
      /was exported with the projection to the old space \(projection\.weight\)/,
    );
    assert.ok(!existsSync(at('imported')));
  }
});

test('a checkpoint that does not fit is refused once, with all that is wrong and what was asked for', async (t) => {
  const folder = testFolder(t);
  const out = join(folder, 'out');
  const refused = async (path: string, about: Parameters<typeof importModel>[1], message: RegExp): Promise<void> => {
    const before = liveTensors();
    await assert.rejects(
      importModel(path, about, out),
      (error) => error instanceof FileError && message.test(error.message),
    );
    assert.equal(existsSync(out), false);
    assert.equal(liveTensors(), before);
  };
  const path = checkpointPath(r50.file);
  await refused(
    path,
    { ...r50, network: 'r18' },
    /layer1\.2\.bn1\.weight is not part of this model[\s\S]*--network r18 --side 32 --width 0\.03125 was asked for; the names are those of r50/,
  );
  await refused(
    path,
    { network: 'r50' },
    /conv1\.weight: wanted \[64,3,3,3\], got \[2,3,3,3\][\s\S]*… and \d+ more[\s\S]*give the --side and --width/,
  );
  await refused(
    path,
    { ...r50, side: 64 },
    /does not fit this model:\n {2}fc\.weight: wanted \[8,256\], got \[8,64\]\n.*--side 64.*the names fit/,
  );
  const changed = (name: string, change: (tensors: Map<string, never>) => void): string => {
    const file = join(folder, `${name}.safetensors`);
    scope(() => {
      const { tensors } = readSafetensors(runFiles(join(folder, 'whole')).model);
      change(tensors as Map<string, never>);
      writeSafetensors(file, tensors);
    });
    return file;
  };
  await importModel(checkpointPath(r18.file), r18, join(folder, 'whole'));
  const lacking = changed('lacking', (tensors) => {
    tensors.delete('prelu.weight');
    tensors.set('bn2.scale', tensors.get('bn2.bias')!);
  });
  await refused(
    lacking,
    r18,
    /fit this model:\n {2}prelu\.weight is missing\n {2}bn2\.scale is not part.*\n.*no backbone here/,
  );
  const endless = changed('endless', (tensors) => void tensors.delete('features.bias'));
  await refused(endless, r18, /fit this model:\n {2}features\.bias is missing\n/);
  const infinite = changed('infinite', (tensors) => {
    tensors.set('bn2.bias', fill([32], Infinity, 0, 1, 'float32') as never);
  });
  await refused(infinite, r18, /bn2\.bias holds numbers that are not finite/);
});
