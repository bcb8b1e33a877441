// The precision of a recipe in the trainer; ten steps in each against PyTorch are in ten-steps.test.ts.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { oldSide, tinySet, trained, weights } from '../../test/helpers/runs.ts';
import { CLASSES, sessionNumbers, stepAt, tinyBatch, withSession } from '../../test/helpers/session.ts';
import { Interrupted } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { imageTensor } from '../data/collate.ts';
import { extractFeatures, FeatureSet } from '../features/index.ts';
import { checkPrecision } from '../models/mixed-precision.ts';
import { LossScaler } from '../optim/index.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { buildInfo, readSafetensors, scope, setThreads, toFloat32 } from '../torch/index.ts';
import { noOldModelInputs } from './old-model-inputs.ts';
import { disposeSession, embedBatch, openSession, type Session } from './session.ts';
import { trainStep } from './train-step.ts';

before(() => setThreads(1));

/** libtorch 1.13 has fp16 on CUDA alone. */
const oldLibtorch = buildInfo().libtorch.startsWith('1.');
const halves = oldLibtorch ? (['bf16'] as const) : (['bf16', 'fp16'] as const);
/** Embeddings have a deviation of 1 behind the last batch norm, and bf16 8 bits. */
const ROUNDED = 0.5;

test('a backbone of any kind rounds inside and hands out float32; remembering less changes no bit', () => {
  for (const [name, own] of Object.entries({ r18: {}, mbf: {}, vit_t: { dropPath: 0.3, maskRatio: 0.4 } })) {
    const after = (precision: string, checkpointEvery: number) => {
      const network = { name, embeddingDim: 8, inputSide: 32, width: 1 / 32, checkpointEvery, ...own };
      return withSession({ network, precision }, (session) =>
        scope(() => {
          const batch = tinyBatch(12, { side: 32 });
          const images = imageTensor({ images: batch.images, count: 12, side: 32 });
          const { loss } = trainStep(session, batch, noOldModelInputs, stepAt({ side: 32 }));
          const embeddings = session.backbone.forward(images, { train: false });
          assert.equal(embedBatch(session, images).dtype, 'float32');
          return { loss, embeddings: toFloat32(embeddings), numbers: sessionNumbers(session) };
        }),
      );
    };
    const wide = after('float32', 0);
    for (const precision of halves) {
      const plain = after(precision, 0);
      assert.deepEqual(after(precision, 1), plain, `${name} in ${precision}, computed again`);
      const away = Math.abs(plain.loss - wide.loss);
      assert.ok(away > 0 && away < ROUNDED, `${name} in ${precision}: ${plain.loss}, in float32 ${wide.loss}`);
    }
  }
});

test('losses in bf16 are as far from those in float32 as the seed allows', () => {
  const batches = Array.from({ length: 4 }, (_, i) => {
    const { images, labels, indices } = tinyBatch(48);
    const share = images.length / 4;
    return {
      images: images.subarray(i * share, (i + 1) * share),
      labels: labels.subarray(12 * i, 12 * (i + 1)),
      indices: indices.subarray(12 * i, 12 * (i + 1)),
    };
  });
  const lossOf = (precision: string, seed: number): number => {
    const session = openSession(tinyRecipe({ precision }), CLASSES, new Rng(seed));
    const losses = Array.from(
      { length: 24 },
      (_, i) => trainStep(session, batches[i % 4]!, noOldModelInputs, stepAt({ lr: 0.001 })).loss,
    );
    disposeSession(session);
    return losses.slice(-8).reduce((sum, loss) => sum + loss, 0) / 8;
  };
  const [wide, half] = ['float32', 'bf16'].map((precision) => [1, 2, 3].map((seed) => lossOf(precision, seed)));
  const [least, most] = [Math.min(...wide!), Math.max(...wide!)];
  const text = `${half} in bf16, ${wide} in float32`;
  assert.ok(most < 2, `nothing is learned: ${text}`);
  for (const [i, loss] of half!.entries()) assert.ok(Math.abs(loss - wide![i]!) < most - least, text);
});

test('an interrupted run in half precision, in parts, goes on to the same bytes, and so does its scaler', async (t) => {
  const { folder, dataset } = await tinySet(t);
  for (const precision of halves) {
    const changes = { precision, accumulate: 2, epochs: 1, head: { kind: 'arcface', sampleRate: 0.7, scale: 16 } };
    const [whole, again, cut] = ['whole', 'again', 'cut'].map((name) => join(folder, `${precision}-${name}`)) as [
      string,
      string,
      string,
    ];
    const manifest = await trained(dataset, whole, changes);
    await trained(dataset, again, changes);
    assert.deepEqual(weights(again), weights(whole), 'two runs are one');
    const controller = new AbortController();
    let steps = 0;
    const old = {
      ...noOldModelInputs,
      forBatch: () => {
        if (++steps === 4) controller.abort();
        return {} as never;
      },
    };
    await assert.rejects(trained(dataset, cut, changes, { old, signal: controller.signal }), Interrupted);
    const names = scope(() => [...readSafetensors(runFiles(cut).checkpoint).tensors.keys()]);
    assert.equal(names.includes('scaler.scale'), precision === 'fp16', 'only fp16 has a scaler');
    const resumed = await trained(dataset, cut, changes, { resume: true });
    assert.deepEqual(weights(cut), weights(whole), precision);
    assert.deepEqual(resumed.counts, manifest.counts, 'what was counted before goes on');
  }
});

/** The session with a scaler of its own, whatever its precision. */
const scaled = (session: Session, scale: number): Session => ({ ...session, scaler: new LossScaler({ scale }) });

test('a scaler that finds no overflow changes no bit of a step, sampled heads included', () => {
  for (const head of [
    { kind: 'arcface', scale: 16 },
    { kind: 'cosface', scale: 16, sampleRate: 0.5 },
  ]) {
    const after = (scale: number | null) =>
      withSession({ head }, (plain) => {
        const session = scale === null ? plain : scaled(plain, scale);
        const seen = [1, 2, 3].map(() => trainStep(session, tinyBatch(3), noOldModelInputs, stepAt()));
        session.scaler?.dispose();
        return { seen, numbers: sessionNumbers(plain) };
      });
    assert.deepEqual(after(2 ** 16), after(null), `${head.kind}: powers of two are divided out exactly`);
  }
});

test('a step whose gradients overflow, here or in another process, changes no weight and halves the scale', () => {
  const counted: string[] = [];
  const count = (what: string): void => void counted.push(what);
  const after = (scale: number, anywhere = (flag: boolean): boolean => flag) =>
    withSession({}, (plain) => {
      const session = scaled(plain, scale);
      const weightsOf = () => sessionNumbers({ ...plain, backbone: plain.head }); // head and optimiser
      const before = weightsOf();
      const seen = trainStep(session, tinyBatch(6), noOldModelInputs, stepAt({ count, anywhere }));
      const result = { before, now: weightsOf(), scale: session.scaler!.scale, seen };
      session.scaler!.dispose();
      return result;
    });
  const clean = after(1024);
  assert.notDeepEqual(clean.now, clean.before);
  assert.equal(clean.scale, 1024);
  const asked: boolean[] = [];
  const overflow = after(2 ** 127, (flag) => {
    asked.push(flag);
    return flag;
  });
  assert.deepEqual(asked, [true]);
  const elsewhere = after(1024, (flag) => asked.push(flag) === 2 || flag);
  for (const [name, { before, now, seen }] of Object.entries({ overflow, elsewhere })) {
    assert.deepEqual(now, before, name);
    assert.ok(Number.isFinite(seen.loss) && Number.isNaN(seen.gradNorm) && seen.finite, name);
  }
  assert.deepEqual([overflow.scale, elsewhere.scale], [2 ** 126, 512]);
  assert.deepEqual(counted, new Array(2).fill('steps skipped for overflowing gradients'));
});

test('a trained model embeds in the precision that is asked for, and the feature set says so', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const side = await oldSide(folder, dataset);
  using encoder = await openEncoder(join(folder, 'old'), { precision: 'bf16' });
  const out = join(folder, 'bf16');
  const info = await extractFeatures(dataset, encoder, { out, half: true });
  assert.deepEqual([info.precision, info.dtype], ['bf16', 'float16']);
  using wide = FeatureSet.open(side.features);
  using narrow = FeatureSet.open(out);
  assert.deepEqual([wide.info.precision, wide.info.dtype], ['float32', 'float32']);
  const away = narrow.all().map((value, i) => Math.abs(value - wide.all()[i]!));
  assert.ok(Math.max(...away) > 0 && Math.max(...away) < ROUNDED, String(Math.max(...away)));
});

test('a recipe names its precision; one that cannot be computed in is refused before anything is written', async (t) => {
  assert.equal(tinyRecipe({}).precision, 'float32');
  assert.throws(() => tinyRecipe({ precision: 'float16' }), /precision/);
  const refuse = () => checkPrecision('fp16');
  if (oldLibtorch) assert.throws(refuse, /fp16: libtorch 1\.13.* on CUDA devices only\n.*bf16/);
  else assert.doesNotThrow(refuse);
  t.diagnostic(buildInfo().cudaDevices > 0 ? 'CUDA found' : 'no CUDA device: fp16 on CUDA was not tested');
});
