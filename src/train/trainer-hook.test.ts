import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { tinySet, trained, weights } from '../../test/helpers/runs.ts';
import { tinyBatch } from '../../test/helpers/session.ts';
import { imageTensor } from '../data/collate.ts';
import { inference, norm, scope, setThreads, sum } from '../torch/index.ts';
import type { TrainerHook, TrainingState } from './trainer-hook.ts';

before(() => setThreads(1));

/** Two epochs of six steps. */
const short = { epochs: 2 };

test('a hook sees a training from its start to its end and validates the model between epochs', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const [plain, out] = [join(folder, 'plain'), join(folder, 'out')];
  const calls: string[] = [];
  const norms: number[] = [];
  const { images, labels } = tinyBatch(6);
  const validation: TrainerHook = {
    onEpochStart: async ({ session }) => {
      await new Promise(setImmediate); // it may read files meanwhile
      const pixels = () => imageTensor({ images, count: labels.length, side: 16 });
      norms.push(
        inference(() =>
          scope(() => sum(norm(session.backbone.forward(pixels(), { train: false }), { dim: 1 })).item()),
        ),
      );
    },
  };
  const record: TrainerHook = {
    onStart: ({ step, totalSteps }) => void calls.push(`start ${step}/${totalSteps}`),
    onEpochStart: ({ epoch }) => void calls.push(`epoch ${epoch}`),
    onStep: ({ step, epoch }, { loss, samples }) => {
      assert.ok(Number.isFinite(loss) && samples === 8 && epoch === Math.floor((step - 1) / 6));
      calls.push(`step ${step}`);
    },
    onCheckpoint: ({ step }) => void calls.push(`checkpoint ${step}`),
    onEnd: ({ step }, { steps, kind }) => void calls.push(`${kind} of ${steps} steps, ${step}`),
    [Symbol.dispose]: () => void calls.push('disposed'),
  };
  await trained(dataset, plain, short);
  await trained(dataset, out, short, { hooks: [validation, record], saveEvery: 4 });
  const steps = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `step ${from + i}`);
  assert.deepEqual(calls, [
    ...['start 0/12', 'checkpoint 0', 'epoch 0', ...steps(1, 4), 'checkpoint 4', ...steps(5, 6), 'checkpoint 6'],
    ...['epoch 1', ...steps(7, 8), 'checkpoint 8', ...steps(9, 12), 'checkpoint 12', 'run of 12 steps, 12', 'disposed'],
  ]);
  assert.equal(norms.length, 2);
  assert.notEqual(norms[0], norms[1], 'the model has learned between the two');
  assert.deepEqual(weights(out), weights(plain), 'hooks change no number');
});

test('a hook that throws ends the run, which resumes to the same bytes', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const [whole, out] = [join(folder, 'whole'), join(folder, 'out')];
  let disposed = 0;
  const failing = {
    onStep: ({ step }: TrainingState) => assert.notEqual(step, 8, 'validation failed'),
    [Symbol.dispose]: () => void disposed++,
  };
  await trained(dataset, whole, short);
  await assert.rejects(trained(dataset, out, short, { hooks: [failing] }), /validation failed/);
  assert.equal(disposed, 1);
  const started: number[] = [];
  const onStart = ({ step }: TrainingState): void => void started.push(step);
  await trained(dataset, out, short, { hooks: [{ onStart }], resume: true });
  assert.deepEqual(started, [6]);
  assert.deepEqual(weights(out), weights(whole));
});
