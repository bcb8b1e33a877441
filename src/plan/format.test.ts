import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costsOf } from './costs.ts';
import { bytesText, points } from './format.ts';

test('bytes are shown in powers of 1000 with three digits, points with two decimals', () => {
  for (const [bytes, text] of [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1 kB'],
    [1_024_000_000, '1.02 GB'],
    [5.12e11, '512 GB'],
    [1e18, '1000 PB'],
  ] as const)
    assert.equal(bytesText(bytes), text);
  assert.equal(points(0.015), '1.50 points');
});

test('costs follow from size, dimensions, type and rate, and are unknown without them', () => {
  const gallery = { size: 1000, type: 'float16', imagesPerSecond: 2 } as const;
  const work = { reEmbed: true, rewrite: false, from: 128, to: 512 };
  assert.deepEqual(costsOf(work, gallery), {
    ...{ reEmbed: 1000, rewrite: 0, hours: 500 / 3600 },
    bytes: { now: 256_000, during: 256_000 + 1_024_000, after: 1_024_000 },
  });
  assert.deepEqual(costsOf({ ...work, reEmbed: false }, gallery).bytes, {
    now: 256_000,
    during: 256_000,
    after: 256_000,
  });
  assert.deepEqual(costsOf(work, { ...gallery, size: null }), { reEmbed: null, rewrite: 0, hours: null, bytes: null });
  assert.equal(costsOf(work, { ...gallery, imagesPerSecond: null }).hours, null);
});
