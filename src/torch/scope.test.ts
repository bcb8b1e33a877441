import assert from 'node:assert/strict';
import { test } from 'node:test';
import { add } from './ops.ts';
import { keep, liveTensors, scope } from './scope.ts';
import { share, tensor, toFloat32 } from './tensor.ts';

test('a scope frees temporaries and hands what it returns to the scope around', () => {
  const before = liveTensors();
  scope(() => {
    const { sum } = scope(() => {
      const x = tensor([1, 2]);
      return { sum: add(x, x) };
    });
    assert.deepEqual([...toFloat32(sum)], [2, 4]);
    assert.equal(liveTensors(), before + 1);
  });
  assert.equal(liveTensors(), before);
});

test('a scope frees everything when its body throws', () => {
  const before = liveTensors();
  assert.throws(() =>
    scope(() => {
      tensor([1]);
      throw new Error('stop');
    }),
  );
  assert.equal(liveTensors(), before);
});

test('a scope refuses a promise', () => {
  assert.throws(() => scope(async () => 1), /must be synchronous/);
});

test('a disposed tensor says so, with its shape and the operator', () => {
  const x = tensor([1, 2, 3, 4], { shape: [2, 2] });
  x.dispose();
  x.dispose();
  assert.throws(() => add(x, x), { code: 'DISPOSED', message: /add.*\[2, 2\] was disposed/s });
});

test('keep() takes a tensor out of its scope', () => {
  const kept = scope(() => {
    const x = keep(tensor([7]));
    return () => x;
  })();
  assert.equal(kept.item(), 7);
  kept.dispose();
  assert.throws(() => keep(kept), /keep.*disposed/);
});

test('share() works on the memory itself, also on a SharedArrayBuffer', () => {
  const memory = new Float32Array(new SharedArrayBuffer(8));
  scope(() => {
    const x = share(memory);
    memory[1] = 5;
    assert.deepEqual([...toFloat32(x)], [0, 5]);
  });
});
