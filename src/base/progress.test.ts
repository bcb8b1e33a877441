import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reportsOf } from '../../test/helpers/reports.ts';
import { logLine, noProgress, type Reporter, reportTo } from './progress.ts';

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
