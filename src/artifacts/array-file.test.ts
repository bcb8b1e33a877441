import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { ArrayFile, ArrayFileWriter } from './array-file.ts';

test('arrays are read as they were written; a file that is changed, cut short or unfinished is none', (t) => {
  const path = join(testFolder(t), 'deep', 'a.lists');
  const arrays = [
    Int32Array.of(1, -2, 3),
    Uint8Array.of(7),
    new Uint8Array(0),
    Float32Array.of(0.1, Number.NaN),
  ] as const;
  {
    using unfinished = new ArrayFileWriter(path);
    unfinished.append(arrays[0]);
    assert.equal(ArrayFile.open(path), null);
  }
  assert.deepEqual(readdirSync(join(path, '..')), [], 'nothing is left of an unfinished file');
  {
    using file = new ArrayFileWriter(path);
    for (const array of arrays) file.append(array);
    file.finish();
  }
  {
    using file = ArrayFile.open(path)!;
    assert.deepEqual([file.read(0, 'i4'), file.read(1, 'u1'), file.read(2, 'u1'), file.read(3, 'f4')], arrays);
    assert.equal(file.count, arrays.length);
    assert.throws(() => file.read(0, 'f4'), /array 0 is i4, wanted f4/);
  }
  const whole = readFileSync(path);
  for (const length of [0, 20, whole.length - 1]) {
    writeFileSync(path, whole.subarray(0, length));
    assert.equal(ArrayFile.open(path), null, `${length} bytes`);
  }
  for (let at = 0; at < whole.length; at++) {
    const changed = Buffer.from(whole);
    changed[at]! ^= 4;
    writeFileSync(path, changed);
    assert.equal(ArrayFile.open(path), null, `byte ${at}`);
  }
  assert.ok(existsSync(path));
});

test('where digests are not to be checked, a changed number is read as it is, and a damaged list of arrays is none', (t) => {
  const path = join(testFolder(t), 'a.lists');
  using file = new ArrayFileWriter(path);
  file.append(new Int32Array(20).fill(1));
  file.finish();
  const whole = readFileSync(path);
  process.env['MIXBCT_VERIFY_GB'] = '0';
  t.after(() => delete process.env['MIXBCT_VERIFY_GB']);
  const changed = Buffer.from(whole);
  changed[0] = 9;
  writeFileSync(path, changed);
  {
    using found = ArrayFile.open(path)!;
    assert.deepEqual(found.read(0, 'i4').subarray(0, 2), Int32Array.of(9, 1));
  }
  for (const [text, other] of [
    ['"length":20', '"length":99'],
    ['"at":0', '"at":-'],
    ['"i4"', '"x4"'],
  ] as const) {
    const at = whole.indexOf(text);
    assert.ok(at > 0, text);
    const damaged = Buffer.from(whole);
    damaged.write(other, at);
    writeFileSync(path, damaged);
    assert.equal(ArrayFile.open(path), null, other);
  }
});
