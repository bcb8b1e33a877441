// The best model of a run that was cut short around a checkpoint: the numbers after it need not come again.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { reportsOf } from '../../test/helpers/reports.ts';
import { sharedSet, trained, weights } from '../../test/helpers/runs.ts';
import type { Dataset } from '../data/index.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { setThreads } from '../torch/index.ts';
import type { TrainerHook, TrainingState } from './trainer-hook.ts';
import { Validation } from './validation.ts';

before(() => setThreads(1));
const shared = sharedSet();
const EPOCH = 6; // steps

/** Trains for as many epochs as there are values, which validations in turn tell. Other hooks are called before and after. */
async function validated(
  dataset: Dataset,
  out: string,
  values: readonly number[],
  { resume = false, earlier = {}, later = {} }: { resume?: boolean; earlier?: TrainerHook; later?: TrainerHook } = {},
) {
  const left = [...values];
  const changes = { epochs: 4, validation: { every: 1, keepBest: true } };
  await using validation = new Validation({
    validation: changes.validation as never,
    ...{ dataset, digest: 'x', decides: 'score', workers: 0, measure: () => ({ score: left.shift()! }) },
  });
  const told = await trained(dataset, out, changes, { resume, validation: 'x', hooks: [earlier, validation, later] });
  return told.validation;
}

/** Ends the run at a step, as a kill would. */
const cut = (at: number) => (training: TrainingState) => {
  if (training.step === at) throw new Error('cut');
};

/** The weights after so many steps of the same training. */
async function weightsAfter(dataset: Dataset, out: string, step: number): Promise<Buffer[]> {
  const end = { onStep: (training: TrainingState) => void (training.step === step && training.endEarly()) };
  await trained(
    dataset,
    out,
    { epochs: 4, validation: { every: 1, keepBest: true } },
    { hooks: [end], validation: 'x' },
  );
  return weights(out);
}

test('a better model after the last checkpoint is forgotten with its step', async () => {
  const { folder, dataset } = await shared();
  const out = join(folder, 'forgotten');
  await assert.rejects(validated(dataset, out, [0.5, 0.9], { later: { onStep: cut(2 * EPOCH) } }), /cut/);
  const kept = await validated(dataset, out, [0.4, 0.3, 0.2], { resume: true });
  assert.deepEqual([kept!.best, kept!.bestStep, kept!.kept], [0.5, EPOCH, EPOCH]);
  assert.deepEqual(weights(out), await weightsAfter(dataset, join(folder, 'forgotten-best'), EPOCH));
});

test('a better model whose checkpoint was written is the best, also if the run was cut short right then', async () => {
  const { folder, dataset } = await shared();
  const out = join(folder, 'taken');
  await assert.rejects(validated(dataset, out, [0.5, 0.9], { earlier: { onCheckpoint: cut(2 * EPOCH) } }), /cut/);
  const kept = await validated(dataset, out, [0.4, 0.3], { resume: true });
  assert.deepEqual([kept!.best, kept!.kept], [0.9, 2 * EPOCH]);
  assert.deepEqual(weights(out), await weightsAfter(dataset, join(folder, 'taken-best'), 2 * EPOCH));
});

test('the model of a damaged checkpoint is not taken for the best one before it: the last is, and the log says so', async (t) => {
  const { folder, dataset } = await shared();
  const out = join(folder, 'damaged');
  const reports = reportsOf(t);
  await assert.rejects(validated(dataset, out, [0.5, 0.9, 0.1], { later: { onStep: cut(2 * EPOCH + 1) } }), /cut/);
  writeFileSync(runFiles(out).checkpoint, 'torn');
  const kept = await validated(dataset, out, [0.4, 0.3, 0.2], { resume: true });
  assert.deepEqual([kept!.best, kept!.bestStep, kept!.kept], [0.5, EPOCH, 4 * EPOCH]);
  assert.match(reports.text(), /the model is the last, of step 24; that of step 6 is lost, where score was 50\.00 %/);
  assert.deepEqual(weights(out), await weightsAfter(dataset, join(folder, 'damaged-last'), 4 * EPOCH));
});
