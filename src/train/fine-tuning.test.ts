// Training that begins from weights: what is taken, what stays as it is, and that it resumes and divides like any other.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { before, test } from 'node:test';
import type { Run } from '../../test/distributed/training.ts';
import { inProcesses } from '../../test/helpers/processes.ts';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { oldSide, tinySet, trained, weights } from '../../test/helpers/runs.ts';
import { stepAt } from '../../test/helpers/session.ts';
import { Interrupted } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { type Dataset, Loader } from '../data/index.ts';
import { loadStateDict } from '../nn/state-dict.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { buildInfo, hostTensor, pytorchArchive, readSafetensors, scope, setThreads, toBytes } from '../torch/index.ts';
import { noOldModelInputs } from './old-model-inputs.ts';
import { disposeSession, openSession } from './session.ts';
import { trainStep } from './train-step.ts';

before(() => setThreads(1));

const oldLibtorch = buildInfo().libtorch.startsWith('1.');
const { network } = tinyRecipe();
const plain = { epochs: 1, augment: { flip: false } };

type Line = { readonly step: number; readonly loss: number };
const log = (out: string): Line[] =>
  readFileSync(runFiles(out).log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

/** The bytes of each tensor of a safetensors file. */
const tensors = (path: string): Map<string, string> =>
  scope(
    () =>
      new Map([...readSafetensors(path).tensors].map(([name, x]) => [name, Buffer.from(toBytes(x)).toString('hex')])),
  );

/** The loss of a finished run's model and head on images of the dataset, computed apart from any training. */
async function lossOf(out: string, dataset: Dataset, indices: Int32Array): Promise<number> {
  await using loader = new Loader(dataset, { workers: 0 });
  const recipe = tinyRecipe(plain);
  const session = openSession(recipe, dataset.classes, new Rng(99));
  try {
    scope(() => loadStateDict(out, readSafetensors(runFiles(out).model).tensors, session.backbone.state()));
    scope(() => loadStateDict(out, readSafetensors(runFiles(out).head).tensors, session.head.state()));
    for await (using batch of loader.epoch({ batchSize: indices.length, imageSide: 16, order: indices }))
      return trainStep(session, batch, noOldModelInputs, stepAt()).loss;
    throw new Error('no batch');
  } finally {
    disposeSession(session);
  }
}

test('the first loss is that of the checkpoint on the same images, and a fresh head has another', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  await trained(dataset, at('first'), { ...plain, epochs: 4 });
  let seen: Int32Array | undefined;
  const old = {
    ...noOldModelInputs,
    forBatch: (indices: Int32Array) => {
      seen ??= indices.slice();
      return {} as never;
    },
  };
  const init = { from: at('first'), parts: ['head', 'backbone'] };
  const manifest = await trained(dataset, at('tuned'), { ...plain, init, seed: 7 }, { old });
  const loss = await lossOf(at('first'), dataset, seen!);
  assert.equal(log(at('tuned'))[0]!.loss, loss);
  const scratch = await trained(dataset, at('scratch'), { ...plain, seed: 7 });
  assert.ok(log(at('scratch'))[0]!.loss > 1.5 * loss, `${log(at('scratch'))[0]!.loss} ${loss}`);
  assert.equal(scratch.init, undefined);
  const { fresh, unused, taken, from } = manifest.init!;
  assert.deepEqual([fresh, unused, from], [[], [], at('first')]);
  assert.ok(taken.includes('head.weight') && taken.includes('backbone.layer1.0.bn1.running_mean'));
});

test('frozen stages stay the same bytes, running statistics included, and the others train, in every way of training', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  await trained(dataset, at('first'), plain);
  const start = tensors(runFiles(at('first')).model);
  const everything = [...new Set([...start.keys()].map((name) => name.split('.', 1)[0]!))];
  const parts = ['conv1', 'bn1.weight', 'layer1', 'layer3.1.bn1'];
  for (const [name, freeze, changes] of [
    ['plain', parts, {}],
    ['sgd', parts, { optimizer: { kind: 'sgd', lr: 0.05 } }],
    ['recomputed', parts, { network: { ...network, checkpointEvery: 1 } }],
    ['accumulated', parts, { accumulate: 2 }],
    ['bf16', parts, { precision: 'bf16' }],
    // the first steps overflow until the loss has found its scale; libtorch 1.13 has no fp16 on the processor
    ...(oldLibtorch
      ? []
      : ([
          ['fp16', parts, { precision: 'fp16', epochs: 3 }],
          ['fp16, accumulated', parts, { precision: 'fp16', epochs: 3, accumulate: 2 }],
          ['whole, fp16, accumulated', everything, { precision: 'fp16', epochs: 3, accumulate: 2 }],
        ] as const)),
    ['whole', everything, {}],
    ['whole, accumulated', everything, { accumulate: 2 }],
  ] as const) {
    await trained(dataset, at(name), { ...plain, init: { from: at('first') }, freeze, ...changes });
    const end = tensors(runFiles(at(name)).model);
    const isFrozen = (path: string): boolean => freeze.some((part) => path === part || path.startsWith(`${part}.`));
    for (const [path, bytes] of start) {
      if (isFrozen(path)) assert.equal(end.get(path), bytes, `${name}: ${path}`);
      // the scale of the last batch norm is 1 in every model
      else if (path !== 'features.weight') assert.notEqual(end.get(path), bytes, `${name}: ${path}`);
    }
    const heads = ['first', name].map((run) => tensors(runFiles(at(run)).head).get('weight'));
    assert.notEqual(heads[0], heads[1]);
  }
});

test('a fine-tuning killed in its middle resumes to the same bytes, from another place too, and from nothing else', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  await trained(dataset, at('first'), plain);
  await trained(dataset, at('other'), { ...plain, seed: 5 });
  const init = { from: at('first'), parts: ['backbone', 'head'] };
  const changes = { init, freeze: ['layer1', 'bn1'], backboneLr: 0.1, epochs: 2, precision: 'bf16' };
  await trained(dataset, at('whole'), changes);
  const script = resolve(import.meta.dirname, '../../test/helpers/train-until-killed.js');
  const child = spawnSync(process.execPath, [script, prefix, at('cut'), JSON.stringify(changes), '{}', '9'], {
    encoding: 'utf8',
  });
  assert.equal(child.signal, 'SIGKILL', child.stderr);
  const resumed = (from: string) =>
    trained(dataset, at('cut'), { ...changes, init: { ...init, from } }, { resume: true });
  await assert.rejects(resumed(at('other')), /written with another init \([0-9a-f]{16}, now [0-9a-f]{16}\)/);
  await assert.rejects(resumed(at('none')), /none: no such run or file, and init\.from names it/);
  await assert.rejects(trained(dataset, at('cut'), { ...changes, backboneLr: 1 }, { resume: true }), /another recipe/);
  renameSync(at('first'), at('moved'));
  await resumed(at('moved'));
  assert.deepEqual(weights(at('cut')), weights(at('whole')));
  const lines = [at('cut'), at('whole')].map((out) => log(out).map(({ step, loss }) => ({ step, loss })));
  assert.deepEqual(lines[0], lines[1]);
});

test('two processes begin from the same weights, with a head in shards, take the steps of one and resume', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  const head = { kind: 'arcface', marginRad: 0.2, scale: 16 };
  await trained(dataset, at('first'), { ...plain, head });
  const tune = {
    ...plain,
    head,
    batchSize: 12,
    syncBatchNorm: true,
    optimizer: { kind: 'sgd', lr: 0.02 },
    freeze: ['layer1'],
    backboneLr: 0.5,
  };
  const run = (name: string, parts: readonly string[]): Run => ({
    ...{ prefix, out: at(name), changes: { ...tune, init: { from: at('first'), parts } } },
  });
  for (const [name, parts] of [
    ['with head', ['backbone', 'head']],
    ['without', ['backbone']],
  ] as const) {
    const one = run(`${name}-1`, parts);
    await trained(dataset, one.out, one.changes);
    const two = run(`${name}-2`, parts);
    const cut = { ...run(`${name}-cut`, parts), stopIn: 2 };
    const answers = await inProcesses<{ leaked: number }>(2, 'training', [
      two,
      cut,
      { ...cut, resume: true, stopIn: 0 },
    ]);
    for (const { leaked } of answers) assert.equal(leaked, 0);
    for (const [i, { loss }] of log(one.out).entries())
      assert.ok(Math.abs(log(two.out)[i]!.loss / loss - 1) < 1e-4, `${name}, step ${i}: ${loss}`);
    assert.deepEqual(weights(cut.out), weights(two.out), name);
  }
});

test('two processes train a head in shards alone, on a backbone that is frozen whole', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  const changes = { ...plain, head: { kind: 'arcface', marginRad: 0.2, scale: 16 }, batchSize: 12 };
  await trained(dataset, at('first'), changes);
  const modules = [...tensors(runFiles(at('first')).model).keys()].map((name) => name.split('.', 1)[0]!);
  const only = { ...changes, init: { from: at('first') }, freeze: [...new Set(modules)] };
  await trained(dataset, at('one'), only);
  await inProcesses(2, 'training', [{ prefix, out: at('two'), changes: only }]);
  for (const [i, { loss }] of log(at('one')).entries())
    assert.ok(Math.abs(log(at('two'))[i]!.loss / loss - 1) < 1e-4, `step ${i}: ${loss}`);
  const [one, two] = [at('one'), at('two')].map((out) => tensors(runFiles(out).head).get('weight'));
  assert.notEqual(two, tensors(runFiles(at('first')).head).get('weight'));
  assert.equal(one!.length, two!.length);
});

test('a file of PyTorch is a beginning too, with prefixes taken off; what does not fit is refused, or named with partial', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  await trained(dataset, at('first'), plain);
  const state = scope(() => {
    const { tensors } = readSafetensors(runFiles(at('first')).model);
    return new Map([...tensors].map(([name, x]) => [`module.${name}`, hostTensor(x)] as const));
  });
  const write = async (name: string, entries: typeof state): Promise<void> =>
    writeFileSync(at(name), Buffer.concat(await pytorchArchive(entries)));
  await write('whole.pt', new Map([...state, ['module.classifier.weight', state.get('module.conv1.weight')!]]));
  const some = [...state].filter(([name]) => !name.startsWith('module.layer2'));
  await write('some.pt', new Map([...some, ['module.layer1.7.weight', state.get('module.fc.bias')!]]));
  const tuned = (name: string, init: object, changes: object = {}) =>
    trained(dataset, at(name), { ...plain, init, freeze: ['layer1'], ...changes });

  const { init } = await tuned('a', { from: at('whole.pt') });
  assert.deepEqual(init!.unused, ['backbone.classifier.weight']);
  const [first, a] = [at('first'), at('a')].map((out) => tensors(runFiles(out).model));
  assert.equal(a!.get('layer1.0.conv1.weight'), first!.get('layer1.0.conv1.weight'));

  await assert.rejects(
    tuned('b', { from: at('some.pt') }),
    /some\.pt: does not fit this model:\n {2}layer2\.0\.[\s\S]*init\.partial: true/,
  );
  assert.equal(existsSync(at('b')), false, 'nothing is left of a run that did not begin');
  const wide = { network: { ...network, embeddingDim: 12 } };
  const { init: part } = await tuned('c', { from: at('some.pt'), partial: true }, wide);
  assert.deepEqual(
    part!.fresh.filter((name) => !name.startsWith('backbone.layer2.')),
    [
      'fc.weight',
      'fc.bias',
      ...['weight', 'bias', 'running_mean', 'running_var'].map((name) => `features.${name}`),
    ].map((name) => `backbone.${name}`),
  );
  assert.deepEqual(
    part!.unused.filter((name) => !/\.(fc|features)\./.test(name)),
    ['backbone.layer1.7.weight'],
  );
  assert.ok(part!.taken.includes('backbone.layer1.0.conv1.weight'));

  for (const [name, init, changes, message] of [
    ['d', { from: at('whole.pt'), parts: ['head'] }, {}, /a file holds a backbone, and init\.parts is head/],
    ['d', { from: at('first'), parts: ['projection'] }, {}, /the run has no projection/],
    ['d', { from: folder }, {}, /is no finished run/],
    ['d', { from: runFiles(at('first')).log }, {}, /./],
    ['d', { from: runFiles(at('first')).head, partial: true }, {}, /does not fit this model/],
    ['d', { from: at('whole.pt') }, { freeze: ['layr1'] }, /no parameter or stage layr1; did you mean layer1\?/],
    ['d', { from: at('whole.pt') }, { freeze: ['layer'] }, /no parameter or stage layer[\s\S]*its stages: conv1, bn1/],
  ] as const) {
    await assert.rejects(tuned(name, init, changes), message);
    assert.equal(existsSync(at(name)), false);
  }
});

test('a run that begins from weights says so, stands alone, and may be told to stop like any other', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  await trained(dataset, at('first'), plain);
  const init = { from: at('first') };
  await assert.rejects(
    trained(dataset, at('tuned'), { ...plain, init }, { signal: AbortSignal.abort() }),
    (error) => error instanceof Interrupted,
  );
  await trained(dataset, at('tuned'), { ...plain, init }, { resume: true });
  renameSync(at('first'), at('gone'));
  (await openEncoder(at('tuned')))[Symbol.dispose]();
});

test('a learned rotation is no beginning: a finished run has its rows and not its angles', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  const paths = { features: (await oldSide(folder, dataset)).features };
  const rotated = {
    ...plain,
    network: { ...network, embeddingDim: 12 },
    method: { kind: 'l2' },
    projection: { dim: 8, orthonormal: true },
  };
  const tuned = (name: string, changes: object) => trained(dataset, at(name), { ...rotated, ...changes }, { paths });
  await tuned('first', {});
  const parts = ['backbone', 'projection'];
  for (const partial of [false, true])
    await assert.rejects(
      tuned('a', { init: { from: at('first'), parts, partial } }),
      /first: .* orthonormal projection.*\n.*leave projection out of init\.parts/,
    );
  assert.equal(existsSync(at('a')), false);
  await tuned('b', { init: { from: at('first') } });
  const { init } = await tuned('c', { init: { from: at('first'), parts }, projection: { dim: 8 } });
  assert.ok(init!.taken.includes('projection.weight'), 'a plain map begins from the rows');
});
