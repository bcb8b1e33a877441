import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { readIds, writeIds } from './id-list.ts';

const IDS = ['a/1.jpg', '', 'new\nline', '名/é "quoted" \\.png', ...Array.from({ length: 9000 }, (_, i) => `n/${i}`)];

test('ids come back as they were written, whatever they hold', (t) => {
  const path = join(testFolder(t), 'ids.jsonl');
  writeIds(path, IDS);
  const ids = readIds(path, IDS.length);
  assert.deepEqual(
    IDS.map((_, i) => ids.at(i)),
    IDS,
  );
});

test('a list of another length, or damaged, is refused by name', (t) => {
  const path = join(testFolder(t), 'ids.jsonl');
  writeIds(path, IDS);
  for (const count of [0, 1, IDS.length - 1, IDS.length + 1, 1e6])
    assert.throws(() => readIds(path, count).at(0), /ids\.jsonl: holds 9004 ids, wanted \d+/);
  writeFileSync(path, '"a"\n17\n{"b"\n');
  const ids = readIds(path, 3);
  assert.equal(ids.at(0), 'a');
  assert.throws(() => ids.at(1), /line 2 is no JSON string/);
  assert.throws(() => ids.at(2), /line 3 is no JSON string/);
  writeFileSync(path, '"a"\n"b"');
  assert.throws(() => readIds(path, 1).at(0), /line 2 is cut short/);
});
