// Heads that compare with a share of the classes, in the trainer.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { oldSide, tinySet, trained, weights } from '../../test/helpers/runs.ts';
import { Interrupted } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { liveTensors, readSafetensors, scope, setThreads, toFloat32 } from '../torch/index.ts';
import { noOldModelInputs } from './old-model-inputs.ts';
import { disposeSession, openSession, sessionState } from './session.ts';

before(() => setThreads(1));

const optimizers = [
  { kind: 'sgd', lr: 0.05 },
  { kind: 'adamw', lr: 0.003 },
] as const;
const heads = [
  { kind: 'arcface', marginRad: 0.2, scale: 16, sampleRate: 0.5 },
  { kind: 'cosface', marginCos: 0.1, scale: 16, sampleRate: 0.7 },
] as const;

test('a sampled run goes on from a checkpoint to the same bytes, momentum of absent classes included', async (t) => {
  const { folder, dataset } = await tinySet(t);
  for (const [i, optimizer] of optimizers.entries()) {
    const [whole, cut] = [join(folder, `whole-${i}`), join(folder, `cut-${i}`)];
    const changes = { head: heads[i], optimizer, batchSize: 3 };
    const live = liveTensors();
    await trained(dataset, whole, changes);
    assert.equal(liveTensors(), live);
    const controller = new AbortController();
    let steps = 0;
    const old = {
      ...noOldModelInputs,
      forBatch: () => {
        if (++steps === 20) controller.abort();
        return {} as never;
      },
    };
    await assert.rejects(trained(dataset, cut, changes, { old, signal: controller.signal }), Interrupted);
    await trained(dataset, cut, changes, { resume: true });
    assert.deepEqual(weights(cut), weights(whole), optimizer.kind);
  }
});

test('a share of 1 is the head as ever: same bytes, same names of state, whatever is drawn', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const { sampleRate: _, ...head } = heads[0];
  const at = (name: string): string => join(folder, name);
  await trained(dataset, at('plain'), { head, epochs: 1 });
  await trained(dataset, at('one'), { head: { ...head, sampleRate: 1 }, epochs: 1 });
  await trained(dataset, at('half'), { head: heads[0], epochs: 1, batchSize: 3 });
  assert.deepEqual(weights(at('one')), weights(at('plain')));
  const names = (sampleRate: number): string[] => {
    const session = openSession(tinyRecipe({ head: { ...head, sampleRate } }), 6, new Rng(0));
    const result = [...sessionState(session)].map(([name]) => name);
    disposeSession(session);
    return result;
  };
  assert.deepEqual(names(0.5), names(1));
  scope(() => {
    const [plain, half] = ['plain', 'half'].map((name) => readSafetensors(runFiles(at(name)).head).tensors);
    assert.deepEqual([...half!.keys()], [...plain!.keys()]);
    assert.deepEqual(half!.get('weight')!.shape, plain!.get('weight')!.shape);
  });
});

test('classes that no step meets keep the weight they were born with', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const changes = { pretend: { classes: 40 }, optimizer: optimizers[0], epochs: 1 };
  const rows = (name: string): Float32Array =>
    scope(() => toFloat32(readSafetensors(runFiles(join(folder, name)).head).tensors.get('weight')!));
  await trained(dataset, join(folder, 'few'), { ...changes, head: { ...heads[0], sampleRate: 0.01 } });
  await trained(dataset, join(folder, 'all'), { ...changes, head: { ...heads[0], sampleRate: 1 } });
  const session = openSession(tinyRecipe({ ...changes, head: heads[0] }), 40, new Rng(tinyRecipe({}).seed));
  const born = toFloat32(session.head.weight);
  disposeSession(session);
  const [few, all] = [rows('few'), rows('all')];
  const same = (of: Float32Array, label: number): boolean =>
    of.subarray(label * 8, (label + 1) * 8).every((v, d) => v === born[label * 8 + d]);
  for (let label = 0; label < 40; label++) {
    assert.equal(same(few, label), label >= 6, `class ${label} of a sample of own classes`);
    assert.equal(same(all, label), false, `class ${label} of all`);
  }
});

test('every method trains with a sampled head; NCCL reads the whole weight', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const side = await oldSide(folder, dataset);
  const methods = {
    nccl: [{ queueSize: 20 }, { features: side.features }],
    mixbct: [{ ratio: 0.4 }, { features: side.features, credible: side.credible }],
    bct: [{}, { prototypes: side.prototypes }],
  } as const;
  for (const [kind, [section, paths]] of Object.entries(methods)) {
    const changes = { head: heads[0], method: { kind, ...section }, epochs: 1 };
    const manifest = await trained(dataset, join(folder, kind), changes, { paths });
    assert.equal(manifest.steps, 6, kind);
  }
});

test('a share above 1 or of nothing is refused', () => {
  for (const sampleRate of [0, 1.2, -1])
    assert.throws(() => tinyRecipe({ head: { kind: 'arcface', sampleRate } }), /head\.sampleRate/);
  assert.throws(() => tinyRecipe({ head: { kind: 'softmax', sampleRate: 0.5 } }), /sampleRate/);
});
