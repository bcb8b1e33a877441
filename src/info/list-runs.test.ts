import assert from 'node:assert/strict';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeLog } from '../../test/helpers/watched-runs.ts';
import { packageRoot } from '../base/version.ts';
import { formatRuns, listRuns } from './list-runs.ts';

test('runs and evaluations of a folder are listed with what evaluations say of each run, the damaged ones, too', (t) => {
  const folder = testFolder(t);
  cpSync(join(packageRoot, 'test/fixtures/0.3.0/experiment'), join(folder, 'old release'), { recursive: true });
  writeLog(join(folder, 'open'), [10, 20], { totalSteps: 80 });
  writeFileSync(join(folder, 'open/recipe.json'), '{"method":{"kind":"l2"}}');
  symlinkSync(join(folder, 'open'), join(folder, 'linked'));
  mkdirSync(join(folder, 'broken'));
  writeFileSync(join(folder, 'broken/evaluation.json'), '{');
  writeLog(join(folder, 'torn'), [10]);
  writeFileSync(join(folder, 'torn/log.jsonl'), Buffer.from([0xff, 0x0a]));
  symlinkSync('manifest.json', join(folder, 'torn/manifest.json')); // a link to itself
  const listed = listRuns(folder);
  const byPath = new Map(listed.map((one) => [one.path.slice(folder.length + 1), one]));
  assert.deepEqual([...byPath.keys()].sort(), ['broken', 'old release/judge', 'old release/new', 'old release/old', 'open', 'torn']); // biome-ignore format: short
  const { state, method, metrics } = byPath.get('open')!;
  assert.deepEqual([state, method, metrics], ['interrupted at 25 %', 'l2', [{ name: 'loss', value: 3 / 20 }]]);
  assert.deepEqual([byPath.get('broken')!.state, byPath.get('torn')!.state], ['damaged', 'damaged']);
  assert.equal(byPath.get('old release/new')!.state, 'finished');
  assert.ok(byPath.get('old release/new')!.data);
  const text = stripVTControlCharacters(
    formatRuns(folder, listed, Date.parse(byPath.get('open')!.changed) + 3 * 3_600_000),
  );
  assert.match(text, /^path +what +state +method +data +.*age/);
  assert.match(text, /open +run +interrupted at 25 % +l2 +– +loss 0\.150 +3 h/);
  assert.match(formatRuns(folder, []), /no runs and no evaluations/);
  assert.throws(() => listRuns(join(folder, 'none')), /no such folder/);
  assert.throws(() => listRuns(join(folder, 'broken/evaluation.json')), /is a file, wanted a folder/);
});
