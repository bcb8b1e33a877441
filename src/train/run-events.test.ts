import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { tinySet, trained } from '../../test/helpers/runs.ts';
import { Interrupted } from '../base/errors.ts';
import { logLine, reportTo, silentReporter } from '../base/progress.ts';
import { readRunLog } from '../runs/run-log.ts';
import { setThreads } from '../torch/index.ts';
import type { TrainerHook } from './trainer-hook.ts';

before(() => setThreads(1));

test('messages of a training go on to its reporter and stand beside its log, each step once after it resumes', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const out = join(folder, 'run');
  const told: string[] = [];
  const reporter = { ...silentReporter, line: (text: string) => void told.push(text) };
  const controller = new AbortController();
  const hooks: TrainerHook[] = [
    {
      onStep: ({ step }) => {
        if (step % 3 === 0) logLine(`at ${step}`);
        if (step === 8) controller.abort();
      },
    },
  ];
  const options = { hooks, saveEvery: 4 };
  await reportTo(reporter, () =>
    assert.rejects(trained(dataset, out, {}, { ...options, signal: controller.signal }), Interrupted),
  );
  assert.deepEqual(told.slice(1), ['at 3', 'at 6']);
  assert.match(told[0]!, /^warning: .*18 steps in all/);
  await reportTo(reporter, () => trained(dataset, out, {}, { ...options, resume: true }));
  const { lines, events } = readRunLog(out);
  assert.deepEqual(
    events.map((event) => 'message' in event && [event.step, event.message]),
    [[0, told[0]], ...[3, 6, 9, 12, 15, 18].map((step) => [step, `at ${step}`])],
  );
  assert.deepEqual(
    lines.map(({ step, totalSteps }) => [step, totalSteps]),
    Array.from({ length: 18 }, (_, i) => [i + 1, 18]),
  );
  assert.ok(lines.every(({ time }) => Date.parse(time!) > 0));
});
