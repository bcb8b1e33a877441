// A scripted network of PyTorch that is none of ours, through training: its numbers, its files, and what is refused.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { before, test } from 'node:test';
import type { Run } from '../../test/distributed/training.ts';
import { scriptedNormsPath, scriptedPath, unknownOperatorPath } from '../../test/helpers/checkpoints.ts';
import { gap } from '../../test/helpers/formula.ts';
import { golden } from '../../test/helpers/golden.ts';
import { inProcesses } from '../../test/helpers/processes.ts';
import { derivedSide, tinySet, trained, weights } from '../../test/helpers/runs.ts';
import { B, batchOf, C, ChosenRows, D, noise, SIDE, STEPS } from '../../test/helpers/ten-steps.ts';
import { fileDigest } from '../artifacts/digest.ts';
import { Rng } from '../base/rng.ts';
import { imageTensor } from '../data/collate.ts';
import { exportModel } from '../export/export-model.ts';
import { extractFeatures } from '../features/index.ts';
import type { OldModelBatch } from '../methods/index.ts';
import { ScriptedBackbone } from '../models/scripted.ts';
import { importModelFile } from '../runs/import-model-file.ts';
import { parseRecipe } from '../runs/load-recipe.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import { runFiles } from '../runs/run-artifact.ts';
import {
  copy_,
  liveTensors,
  noGrad,
  normalizeRows,
  readPytorch,
  readSafetensors,
  scope,
  setThreads,
  tensor,
  to,
  toNumbers,
} from '../torch/index.ts';
import { noOldModelInputs } from './old-model-inputs.ts';
import { disposeSession, makeSchedule, openSession } from './session.ts';
import { trainStep } from './train-step.ts';

before(() => setThreads(1));

/** Ten steps in two programs on one libtorch, relative to losses of order 10 and numbers of order 1. */
const TEN_STEPS = 1e-4;
/** Sums of single precision in another order, over two steps. */
const FLOAT_SUMS = 1e-4;

const FILE = scriptedPath;
type Golden = {
  readonly names: readonly string[];
  readonly cases: readonly {
    readonly frozen: readonly string[];
    readonly losses: readonly number[];
    readonly norm: { readonly name: string; readonly numbers: readonly number[] };
    readonly fc: readonly number[];
    readonly embedding: readonly number[];
  }[];
};
const expected = golden('scripted.json') as Golden;
/** With norms that see one image at a time. */
const norms = golden('scripted_norms.json') as Golden;
const network = { name: 'torchscript', file: FILE, embeddingDim: D, inputSide: 16 };
const plain = { network, epochs: 1, optimizer: { kind: 'sgd', lr: 0.02 } };
/** All batch norms: with these in evaluation mode a network makes the same of each image, whatever stands beside it. */
const batchNorms = ['bn', ...[1, 2, 3].flatMap((i) => [`stage${i}.bn1`, `stage${i}.bn2`])];

const losses = (out: string): number[] =>
  readFileSync(runFiles(out).log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).loss);

const state = (out: string): Map<string, number[]> =>
  scope(() => new Map([...readSafetensors(runFiles(out).model).tensors].map(([name, x]) => [name, toNumbers(x)])));

for (const { file, names, frozen, ...wanted } of [
  ...expected.cases.map((one) => ({ ...one, file: FILE, names: expected.names })),
  ...norms.cases.map((one) => ({ ...one, file: scriptedNormsPath, names: norms.names })),
])
  test(`ten steps of MixBCT with ${basename(file)} equal PyTorch's, frozen: ${frozen.join(', ') || 'nothing'}`, () => {
    const recipe = parseRecipe(
      {
        network: { ...network, file, inputSide: SIDE },
        method: { kind: 'mixbct' },
        optimizer: { kind: 'sgd', lr: 0.02 },
        ...(frozen.length > 0 && { freeze: frozen }),
        epochs: 1,
        batchSize: B,
      },
      'test',
    );
    const before = liveTensors();
    const session = openSession(recipe, C, new Rng(0));
    try {
      const headWeight = new Map(session.head.state()).get('weight')!;
      scope(() =>
        noGrad(() => copy_(headWeight, tensor(Float32Array.from(noise(C * D, 4000, 0.5)), { shape: [C, D] }))),
      );
      const lrAt = makeSchedule(recipe, STEPS);
      for (const [step, loss] of wanted.losses.entries()) {
        const old = {
          ...noOldModelInputs,
          forBatch: () =>
            ({
              oldEmbedding: scope(() =>
                normalizeRows(to(tensor(noise(B * D, 3000 + step, 1), { shape: [B, D] }), { dtype: 'float32' })),
              ),
              credible: Int32Array.from({ length: B }, (_, i) => i),
            }) as unknown as OldModelBatch,
        };
        const at = { progress: step / STEPS, epoch: 0, epochs: 1, rng: new ChosenRows(step), count: () => undefined };
        const seen = trainStep(session, batchOf(step), old, { ...at, lr: lrAt(step), clipNorm: 5, side: SIDE });
        assert.ok(Math.abs(seen.loss - loss) < TEN_STEPS * loss, `loss of step ${step}: ${seen.loss}, wanted ${loss}`);
      }
      const now = new Map(session.backbone.state());
      assert.deepEqual([...now.keys()].sort(), [...names].sort());
      const first8 = (name: string): number[] => toNumbers(now.get(name)!).slice(0, 8);
      assert.ok(gap(first8(wanted.norm.name), wanted.norm.numbers) < TEN_STEPS);
      assert.ok(gap(first8('fc.weight'), wanted.fc) < TEN_STEPS);
      const embedding = scope(() => {
        const { images } = batchOf(0);
        return toNumbers(session.backbone.forward(imageTensor({ images, count: B, side: SIDE }), { train: false }));
      });
      assert.ok(gap(embedding.slice(0, D), wanted.embedding) < TEN_STEPS);
    } finally {
      disposeSession(session);
    }
    assert.equal(liveTensors(), before);
  });

test('a run with MixBCT that is killed resumes to the same bytes, and then stands alone and comes out by its names', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  copyFileSync(FILE, at('net.pt'));
  const { script: digest, imported } = await importModelFile(FILE, { network: 'torchscript', side: 16 }, at('old'));
  assert.deepEqual([digest, digest], [fileDigest(FILE), imported!.digest]);
  {
    using encoder = await openEncoder(at('old'));
    await extractFeatures(dataset, encoder, { out: at('features'), batchSize: 16 });
  }
  const { features, credible } = await derivedSide(folder);
  const paths = { features, credible };
  const old = { ...network, file: at('net.pt') };
  const changes = {
    ...{ network: old, method: { kind: 'mixbct', ratio: 0.4 } },
    ...{ epochs: 2, precision: 'bf16', accumulate: 2, freeze: ['stage1'] },
  };
  await trained(dataset, at('whole'), changes, { paths });
  const script = resolve(import.meta.dirname, '../../test/helpers/train-until-killed.js');
  const child = spawnSync(
    process.execPath,
    [script, prefix, at('cut'), JSON.stringify(changes), JSON.stringify(paths), '9'],
    { encoding: 'utf8' },
  );
  assert.equal(child.signal, 'SIGKILL', child.stderr);
  const resumed = (file: string) =>
    trained(dataset, at('cut'), { ...changes, network: { ...old, file } }, { paths, resume: true });
  writeFileSync(at('other.pt'), Buffer.concat([readFileSync(FILE), Buffer.alloc(1)]));
  await assert.rejects(resumed(at('other.pt')), /written with another script|no TorchScript/);
  renameSync(at('net.pt'), at('moved.pt'));
  await resumed(at('moved.pt'));
  assert.deepEqual(weights(at('cut')), weights(at('whole')));
  renameSync(at('moved.pt'), at('gone.pt'));

  const images = Uint8Array.from({ length: 2 * 16 * 16 * 3 }, (_, k) => (97 * k) % 256);
  const [cut, whole] = [await openEncoder(at('cut')), await openEncoder(at('whole'))];
  assert.deepEqual(await cut.embed(images, 2), await whole.embed(images, 2));
  for (const encoder of [cut, whole]) encoder[Symbol.dispose]();

  await exportModel(at('cut'), { to: 'pytorch', out: at('out.pt') });
  const written = await readPytorch(at('out.pt'));
  assert.deepEqual([...written.keys()].sort(), [...expected.names].sort());
  await assert.rejects(exportModel(at('cut'), { to: 'onnx', out: at('out.onnx') }), /scripted network/);
  assert.equal(existsSync(at('out.onnx')), false);

  // its weights are a beginning for another run, and the copy in the run is checked
  const { init } = await trained(dataset, at('tuned'), {
    ...{ ...plain, init: { from: at('out.pt') } },
    network: { ...network, file: runFiles(at('cut')).script },
  });
  assert.deepEqual([init!.taken.length, init!.fresh, init!.unused], [expected.names.length, [], []]);
  writeFileSync(runFiles(at('cut')).script, Buffer.concat([readFileSync(FILE), Buffer.alloc(1)]));
  await assert.rejects(openEncoder(at('cut')), /backbone\.pt: was changed or damaged/);
});

test('a pass that is made again counts batches once, whatever the parts', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  for (const accumulate of [1, 2]) {
    const { steps } = await trained(dataset, at(`${accumulate}`), { ...plain, accumulate });
    assert.deepEqual(state(at(`${accumulate}`)).get('bn.num_batches_tracked'), [steps * accumulate]);
  }
  // in evaluation mode the parts of a batch make what the whole makes
  for (const accumulate of [1, 4])
    await trained(dataset, at(`f${accumulate}`), { ...plain, accumulate, freeze: batchNorms });
  for (const [i, loss] of losses(at('f1')).entries())
    assert.ok(Math.abs(losses(at('f4'))[i]! / loss - 1) < FLOAT_SUMS, `step ${i}`);
});

test('two processes have the losses of one where a norm sees one image at a time, and stay alike', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  const changes = { ...plain, freeze: batchNorms, batchSize: 12, augment: { flip: false } };
  const whole = { ...changes, freeze: undefined, network: { ...network, file: scriptedNormsPath } };
  await trained(dataset, at('one'), changes);
  await trained(dataset, at('one whole'), whole);
  const runs: Run[] = [
    { prefix, out: at('two'), changes },
    { prefix, out: at('two whole'), changes: whole },
    { prefix, out: at('own'), changes: { ...changes, freeze: ['stage1'] } },
    { prefix, out: at('same'), changes: { ...changes, freeze: ['stage1'] } },
  ];
  for (const { leaked } of await inProcesses<{ leaked: number }>(2, 'training', runs)) assert.equal(leaked, 0);
  for (const how of ['', ' whole'])
    for (const [i, loss] of losses(at(`one${how}`)).entries()) {
      const of2 = losses(at(`two${how}`))[i]!;
      assert.ok(Math.abs(of2 / loss - 1) < FLOAT_SUMS, `step ${i}${how}: ${loss}, ${of2}`);
    }
  assert.deepEqual(weights(at('own')), weights(at('same')));
});

test('what is no network for this recipe is refused before anything is written', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  writeFileSync(at('noise.pt'), Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 167 + 13) % 256)));
  writeFileSync(at('short.pt'), readFileSync(FILE).subarray(0, 50_000));
  const weightsOnly = resolve(import.meta.dirname, '../../../test/golden/checkpoints/half_legacy.pt');
  const live = liveTensors();
  for (const [changes, message] of [
    [{ file: at('none.pt') }, /none\.pt: no such file/],
    [{ file: folder }, /is a folder, wanted a file/],
    [{ file: at('noise.pt') }, /is no TorchScript program/],
    [{ file: at('short.pt') }, /is no TorchScript program/],
    [{ file: weightsOnly }, /is no TorchScript program/],
    [{ file: unknownOperatorPath }, /uses aten::of_later, which libtorch \d\.\S+ does not have\n.*an older PyTorch/],
    [{ embeddingDim: 8 }, /makes embeddings of 16 dimensions, wanted 8\n.*network\.embeddingDim to 16/],
    [{ inputSide: 4 }, /does not run on images \[1, 3, 4, 4\]/],
  ] as const) {
    await assert.rejects(trained(dataset, at('run'), { ...plain, network: { ...network, ...changes } }), message);
    assert.equal(existsSync(at('run')), false);
  }
  assert.equal(liveTensors(), live);
  for (const [changes, message] of [
    [{ network: { ...network, file: undefined } }, /network torchscript needs network\.file/],
    [{ network: { ...network, width: 0.5 } }, /torchscript has no width/],
    [{ network: { ...network, checkpointEvery: 2 } }, /torchscript has no checkpointEvery/],
    [{ network: { ...network, dropout: 0.2 } }, /torchscript has no dropout/],
    [{ network: { ...network, name: 'r18' } }, /r18 has no file/],
    [
      { network: { name: 'r18', embeddingDim: 8, inputSide: 20 } },
      /network\.inputSide: 20 is no multiple of 16, and r18/,
    ],
    [{ syncBatchNorm: true }, /batch norms of a scripted network use the images of one process/],
  ] as const)
    assert.throws(() => parseRecipe({ ...plain, ...changes }, 'test'), message);
  await assert.rejects(
    trained(dataset, at('run'), { ...plain, freeze: ['stage9'] }),
    /no parameter or stage stage9; did you mean/,
  );
  assert.throws(() => new ScriptedBackbone({ ...network, file: at('none.pt') }), /no such file/);
});
