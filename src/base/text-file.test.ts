import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeLines } from './text-file.ts';

test('lines are the same, however many bytes are decoded at a time', () => {
  for (const text of [
    '',
    'a',
    'a\n',
    '\n',
    '\n\n',
    'a\n\nb\n',
    '\ufeffname\n\ufeffname\n',
    'Größe\r\n名前 🙂\nend',
    '\n\na\n\n',
  ]) {
    const lines = text.replace(/^\ufeff/, '').split('\n');
    if (lines.at(-1) === '') lines.pop();
    for (const block of [1, 2, 3, 5, 8, 1 << 20])
      assert.deepEqual(decodeLines(Buffer.from(text), block), lines, JSON.stringify({ text, block }));
  }
  assert.throws(() => decodeLines(Buffer.from('a\nGröße\n', 'latin1'), 2), TypeError);
});
