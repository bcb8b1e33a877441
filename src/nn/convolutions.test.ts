// Convolutions as the backbones build them, in processes of their own whose malloc looks after its blocks. The whole sweep is
// scripts/convolutions.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkConvolutions, kinds } from '../../test/helpers/convolutions.ts';

const strided = ['1×1, stride 2', '1×1, stride 2, as wide'];

for (const [name, env] of Object.entries({
  'on this processor': {},
  'as on one with AVX2, without the caching allocator': { ONEDNN_MAX_CPU_ISA: 'AVX2', MIXBCT_ALLOCATOR: 'system' },
}))
  test(`narrow strided 1×1 convolutions keep to their memory and have the right gradient, ${name}`, () => {
    const sweep = { kinds: strided, channels: [4, 8, 15], sides: [48, 64], batches: [8], threads: 1 };
    assert.equal(checkConvolutions({ ...sweep, dtype: 'float32' }, env), '');
  });

test('so do all other convolutions that backbones use, in both precisions', () => {
  const others = Object.keys(kinds).filter((kind) => !strided.includes(kind));
  for (const dtype of ['float32', 'bfloat16'] as const)
    assert.equal(
      checkConvolutions({ kinds: others, channels: [3, 8], sides: [48], batches: [4], threads: 1, dtype }),
      '',
    );
});
