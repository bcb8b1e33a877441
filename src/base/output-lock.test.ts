// Who may write an output: one process at a time, and none for ever.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { holderOf, killed } from '../../test/helpers/locks.ts';
import { UserError } from './errors.ts';
import { type LockHolder, lockOutput, lockOutputs, stateOf } from './output-lock.ts';

test('a second writer is told who the first one is; when that one has ended, the lock is free and nothing is left', async (t) => {
  const folder = testFolder(t);
  const out = join(folder, 'out');
  const [holder, said] = await holderOf(t, out);
  assert.equal(said, 'held');
  const refused = new RegExp(`^${out}: process ${holder.pid} is writing it since \\d{4}-.*\\(mixbct .*\\)\n.*wait`);
  assert.throws(() => lockOutput(out), (error) => error instanceof UserError && refused.test(error.message)); // biome-ignore format: short
  const [, second] = await holderOf(t, out);
  assert.match(second, refused);
  holder.stdin.end();
  await once(holder, 'close');
  lockOutput(out)[Symbol.dispose]();
  assert.deepEqual(readdirSync(folder), []);
});

test('the lock of a process that was killed is taken over; that of a living one is not, nor that of another machine', async (t) => {
  const folder = testFolder(t);
  const out = join(folder, 'out');
  const [holder] = await holderOf(t, out);
  const path = join(folder, '.out.lock');
  const alive = JSON.parse(readFileSync(path, 'utf8')) as LockHolder;
  assert.equal(stateOf(alive), 'alive');
  assert.equal(stateOf({ ...alive, start: String(Number(alive.start) + 1) }), 'dead', 'its id is another process now');
  assert.equal(stateOf({ ...alive, boot: 'another' }), 'dead', 'the machine has started anew');
  assert.equal(stateOf({ ...alive, namespace: 'another' }), 'unknown');
  await killed(holder);
  assert.equal(stateOf(alive), 'dead');
  lockOutput(out)[Symbol.dispose]();
  assert.deepEqual(readdirSync(folder), []);
  writeFileSync(path, JSON.stringify({ ...alive, host: 'elsewhere' }));
  assert.throws(
    () => lockOutput(out),
    /process \d+ on elsewhere is writing it .*\n.*if it has ended, remove .*\.out\.lock/,
  );
  writeFileSync(path, 'torn by a power fail');
  lockOutput(out)[Symbol.dispose]();
  assert.deepEqual(readdirSync(folder), []);
});

test('of many that find a dead lock, one gets it', async (t) => {
  const folder = testFolder(t);
  for (let round = 0; round < 2; round++) {
    const out = join(folder, `out-${round}`);
    const [dead] = await holderOf(t, out);
    await killed(dead);
    const said = await Promise.all(Array.from({ length: 4 }, () => holderOf(t, out)));
    const winners = said.filter(([, text]) => text === 'held');
    assert.equal(winners.length, 1);
    for (const [, text] of said) assert.match(text, new RegExp(`held|process ${winners[0]![0].pid} is writing it`));
    await Promise.all(said.map(([child]) => killed(child)));
    lockOutput(out)[Symbol.dispose]();
    assert.deepEqual(readdirSync(folder), []);
  }
});

test('several locks are taken together or not at all', (t) => {
  const folder = testFolder(t);
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  using _ = lockOutput(b);
  assert.throws(() => lockOutputs([a, b]), new RegExp(`${b}: process ${process.pid} is writing it`));
  assert.deepEqual(readdirSync(folder), ['.b.lock']);
});
