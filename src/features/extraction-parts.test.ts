import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { holderOf, killed } from '../../test/helpers/locks.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { partPath, removeOtherParts } from './extraction-parts.ts';

test('parts of attempts by another number of processes are removed and said; those of as many, and of other sets, stay', async (t) => {
  const folder = testFolder(t);
  const out = join(folder, 'set');
  const unfinished = `.set.part-2-of-3.${'0'.repeat(16)}.part`;
  const staying = ['set.part-1-of-2', 'set.part-1-of-3.mine', 'set2.part-1-of-3', 'other.part-1-of-3'];
  for (const name of ['set.part-1-of-3', unfinished, ...staying]) mkdirSync(join(folder, name));
  const [dead] = await holderOf(t, partPath(out, 1, 3));
  await killed(dead);
  const said = reportsOf(t);
  removeOtherParts(out, 2);
  const text = said.text();
  said.restore();
  assert.match(text, /set: removed parts that attempts by other numbers of processes \(3\) had left/);
  assert.deepEqual(readdirSync(folder).sort(), staying.sort());
});

test('a part that a living process still writes is not removed', async (t) => {
  const folder = testFolder(t);
  const out = join(folder, 'set');
  mkdirSync(partPath(out, 0, 3));
  const [alive] = await holderOf(t, partPath(out, 0, 3));
  assert.throws(() => removeOtherParts(out, 1), new RegExp(`process ${alive.pid} is writing it`));
  assert.ok(readdirSync(folder).includes('set.part-1-of-3'));
});
