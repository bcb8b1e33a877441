import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UserError } from '../base/errors.ts';
import { planEpochs } from './epoch-plan.ts';

test('a training that can hardly learn anything is told so, and one of no full batch is refused', () => {
  const plan = (images: number, batchSize: number, epochs: number) =>
    planEpochs('set', images, { batchSize, epochs, withoutOld: 0 });
  const { warning, ...steps } = plan(228, 128, 6);
  assert.deepEqual(steps, { stepsPerEpoch: 1, totalSteps: 6 });
  assert.match(warning!, /^warning: set: 228 images make 1 batch of 128 an epoch, 6 steps in all/);
  assert.notEqual(plan(1279, 128, 1000).warning, null, 'nine batches');
  assert.notEqual(plan(1280, 128, 9).warning, null, '90 steps');
  assert.equal(plan(1280, 128, 10).warning, null);
  assert.equal(plan(8160, 128, 6).warning, null, 'the quick start');
  assert.throws(() => plan(127, 128, 6), UserError);
  assert.throws(
    () => planEpochs('set', 100, { batchSize: 128, epochs: 1, withoutOld: 60 }),
    /set: 100 images do not fill one batch of 128 \(60 more have no old embedding\)/,
  );
});
