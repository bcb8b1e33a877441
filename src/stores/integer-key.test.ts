import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIntegerKey } from './integer-key.ts';

test('a key can be an id of a column of whole numbers if it is one of its range', () => {
  for (const bits of [8, 16, 32, 64]) {
    const most = 2n ** BigInt(bits - 1);
    for (const key of ['0', '-0', '007', String(most - 1n), String(-most)]) assert.ok(isIntegerKey(key, bits), key);
    for (const key of [String(most), String(-most - 1n)]) assert.ok(!isIntegerKey(key, bits), key);
    const unsigned = { signed: false };
    assert.ok(isIntegerKey(String(2n * most - 1n), bits, unsigned));
    assert.ok(!isIntegerKey(String(2n * most), bits, unsigned) && !isIntegerKey('-1', bits, unsigned));
  }
  for (const key of ['', '-', '1.5', '1e3', ' 1', 'a', '+1']) assert.ok(!isIntegerKey(key, 64), key);
});
