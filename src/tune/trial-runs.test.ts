// What a trial's process says is what the trial would have said here.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { Interrupted, NonFiniteError, UserError } from '../base/errors.ts';
import { setThreads } from '../torch/index.ts';
import { errorOf, type TrialJob, TrialRuns, wordsOf } from './trial-runs.ts';

before(() => setThreads(1));

test('a trial that fails in a process of its own fails as it does here; then, or when told to stop, no other begins', async (t) => {
  const folder = testFolder(t);
  const job: TrialJob = {
    ...{ title: 'x', seed: 0, preset: 'default', dataFolder: folder, workers: 0, force: false },
    stages: { mean: { do: 'average', features: join(folder, 'nowhere') } },
    out: join(folder, 'out'),
  };
  const failing = (runs: TrialRuns): Promise<Error> =>
    runs.run('l2-0-1', job).then(
      () => assert.fail('it has no input'),
      (error) => error,
    );
  const here = await failing(new TrialRuns(1, new AbortController().signal));
  const several = new TrialRuns(2, new AbortController().signal);
  const there = await failing(several);
  assert.ok(here instanceof UserError && there instanceof UserError);
  assert.match(here.message, /nowhere/);
  assert.equal(there.message, here.message);

  several.failed(there);
  assert.equal(several.cause, there);
  await assert.rejects(several.run('l2-1-1', job), Interrupted);
  await assert.rejects(new TrialRuns(1, AbortSignal.abort()).run('l2-1-1', job), /stopped before l2-1-1/);
});

test('what a trial’s process says of an error makes an error of its kind', () => {
  const again = (error: Error): Error => errorOf(wordsOf(error) as never);
  for (const error of [
    new NonFiniteError('row 5 is not finite'),
    new UserError('no such file'),
    new Interrupted('stopped'),
    new Error('a fault'),
  ]) {
    assert.equal(again(error).constructor, error.constructor);
    assert.equal(again(error).message, error.message);
  }
});
