// Who may write an output: one process at a time, and none for ever.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { holderOf, killed } from '../../test/helpers/locks.ts';
import { smallDisk } from '../../test/helpers/small-disk.ts';
import { UserError } from '../base/errors.ts';
import { holderState, type LockHolder, lockOutput, lockOutputs } from './output-lock.ts';

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
  assert.equal(holderState(alive), 'alive');
  assert.equal(
    holderState({ ...alive, start: String(Number(alive.start) + 1) }),
    'dead',
    'its id is another process now',
  );
  assert.equal(holderState({ ...alive, boot: 'another' }), 'dead', 'the machine has started anew');
  assert.equal(holderState({ ...alive, namespace: 'another' }), 'unknown');
  await killed(holder);
  assert.equal(holderState(alive), 'dead');
  lockOutput(out)[Symbol.dispose]();
  assert.deepEqual(readdirSync(folder), []);
  writeFileSync(path, JSON.stringify({ ...alive, host: 'elsewhere' }));
  assert.throws(
    () => lockOutput(out),
    new RegExp(
      `process ${alive.pid} on elsewhere is writing it .*\n.*check on elsewhere .*: ps -fp ${alive.pid}; if it has ended, remove the file ${path} and repeat`,
    ),
  );
  writeFileSync(path, JSON.stringify({ ...alive, namespace: 'another' }));
  assert.throws(() => lockOutput(out), new RegExp(`check on the container of ${alive.host} that it was started in`));
  rmSync(path);
  lockOutput(out)[Symbol.dispose]();
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

test('what was killed while it took a lock leaves nothing for ever; files of the living and of others stay', async (t) => {
  const folder = testFolder(t);
  const out = join(folder, 'out');
  const path = join(folder, '.out.lock');
  const [holder] = await holderOf(t, out);
  const dead = readFileSync(path);
  await killed(holder);
  const [living] = await holderOf(t, join(folder, 'other'));
  const alive = readFileSync(join(folder, '.other.lock'));
  const id = '0123456789abcdef';
  const swept = ['takeover', id, `takeover.${id}`, `takeover.takeover.${id}`];
  for (const name of swept) writeFileSync(`${path}.${name}`, dead);
  writeFileSync(`${path}.${id.replace('0', 'f')}`, dead.subarray(0, 20)); // killed before it was whole
  writeFileSync(`${path}.takeover.${id.replace('0', 'f')}`, alive);
  for (const name of ['.out.lock.mine', `.out2.lock.${id}`, `out.lock.${id}`]) writeFileSync(join(folder, name), dead);
  lockOutput(out)[Symbol.dispose]();
  const kept = ['.other.lock', '.out.lock.mine', `.out.lock.takeover.f${id.slice(1)}`, `.out2.lock.${id}`, `out.lock.${id}`]; // biome-ignore format: short
  assert.deepEqual(readdirSync(folder).sort(), kept);
  await killed(living);
});

test('what is no lock but stands in its place is told, not waited for', (t) => {
  const folder = testFolder(t);
  const path = join(folder, '.out.lock');
  for (const place of [() => mkdirSync(path), () => symlinkSync('nowhere', path)]) {
    place();
    assert.throws(() => lockOutput(join(folder, 'out')), /out: its lock .*\.out\.lock cannot be read.*\n.*remove .*\.out\.lock/); // biome-ignore format: short
    rmSync(path, { recursive: true });
  }
});

test('several locks are taken together or not at all', (t) => {
  const folder = testFolder(t);
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  using _ = lockOutput(b);
  assert.throws(() => lockOutputs([a, b]), new RegExp(`${b}: process ${process.pid} is writing it`));
  assert.deepEqual(readdirSync(folder), ['.b.lock']);
});

test('a disk without room for a lock is told by the name of the output, and no part of the lock stays', (t) => {
  const disk = smallDisk(t, 64 * 1024);
  if (disk === null) return;
  assert.throws(() => writeFileSync(join(disk, 'fill'), Buffer.alloc(128 * 1024)), /ENOSPC/);
  assert.throws(() => lockOutput(join(disk, 'out')), /out: the disk is full \(.*, 0 bytes left\)/);
  assert.deepEqual(readdirSync(disk), ['fill']);
});

test('a folder in which no file can be made is an error', () => {
  assert.throws(() => lockOutput('/proc/mixbct-output'), { code: 'ENOENT' });
});
