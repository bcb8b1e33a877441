import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reportsOf } from '../../test/helpers/reports.ts';
import { logLine, noProgress, progressIfLong, type Reporter, reportTo } from './progress.ts';

test('a call with a reporter of its own reports there, whatever runs beside it, and others to that of the process', async (t) => {
  const ofProcess = reportsOf(t);
  const [a, b]: [string[], string[]] = [[], []];
  const to = (lines: string[]): Reporter => ({ line: (text) => lines.push(text), progress: () => noProgress });
  const work = async (name: string): Promise<void> => {
    logLine(`${name} begins`);
    await new Promise((done) => setImmediate(done));
    logLine(`${name} ends`);
  };
  await Promise.all([reportTo(to(a), () => work('a')), reportTo(to(b), () => work('b')), work('c')]);
  assert.deepEqual([a, b, ofProcess.text()], [['a begins', 'a ends'], ['b begins', 'b ends'], 'c begins\nc ends\n']);
});

test('a job is shown once it has lasted two seconds, and never if it is over before', (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const shown: string[] = [];
  const reporter: Reporter = {
    line: () => undefined,
    progress: (title, total) => {
      shown.push(`${title} of ${total}`);
      return { update: (done, note) => shown.push(`${done} ${note}`), stop: () => shown.push('stop') };
    },
  };
  const bars = ['short', 'long'].map((title) => reportTo(reporter, () => progressIfLong(title, 9)));
  for (const bar of bars) bar.update(1);
  now = 1999;
  bars[0]!.update(9);
  bars[0]!.stop();
  now = 2000;
  bars[1]!.update(5, 'half');
  bars[1]!.update(9);
  bars[1]!.stop();
  assert.deepEqual(shown, ['long of 9', '5 half', '9 undefined', 'stop']);
});
