import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import {
  add,
  autocast,
  backward,
  buildInfo,
  defaultGenerator,
  equal,
  fillNormal,
  fillUniform,
  generator,
  inference,
  linear,
  matmul,
  mul,
  noGrad,
  ones,
  randomPermutation,
  readSafetensors,
  requireGrad,
  scope,
  setThreads,
  sum,
  tensor,
  threads,
  toInt64,
  toNumbers,
  writeSafetensors,
  zeros,
} from './index.ts';

test('safetensors come back with names, shapes, types, bits and metadata', (t) => {
  const path = join(testFolder(t), 'a.safetensors');
  scope(() => {
    const tensors = [
      ['a.weight', tensor(Float32Array.of(1.5, -0, Number.NaN, 1e-40), { shape: [2, 2] })],
      ['a.count', tensor([7], { dtype: 'int64', shape: [] })],
      ['mask', tensor([1, 0, 1], { dtype: 'bool' })],
      ['empty', zeros([0, 3])],
    ] as const;
    writeSafetensors(path, tensors, { note: 'ünïcode' });
    const { tensors: back, metadata } = readSafetensors(path);
    assert.deepEqual(
      [...back.keys()],
      tensors.map(([name]) => name),
    );
    assert.deepEqual(metadata, { note: 'ünïcode' });
    for (const [name, value] of tensors) {
      assert.deepEqual(back.get(name)!.shape, value.shape);
      assert.equal(back.get(name)!.dtype, value.dtype);
      assert.deepEqual(toNumbers(back.get(name)!), toNumbers(value));
    }
    const bytes = readFileSync(path);
    assert.equal((8 + Number(bytes.readBigUInt64LE(0))) % 8, 0, 'the data is aligned');
  });
});

test('a safetensors file that is none, or cut short, is refused by name', (t) => {
  const path = join(testFolder(t), 'a.safetensors');
  const read = () => scope(() => readSafetensors(path));
  assert.throws(read, /a\.safetensors: cannot be read/);
  scope(() => writeSafetensors(path, [['x', ones([100])]]));
  truncateSync(path, 300);
  assert.throws(read, /a\.safetensors/);
  writeFileSync(path, 'PK\x03\x04 something else');
  assert.throws(read, /is not a safetensors file/);
  const refused = (header: unknown, message: RegExp): void => {
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    writeFileSync(path, Buffer.concat([length, text, Buffer.alloc(8)]));
    assert.throws(read, message);
  };
  refused(null, /describes no tensors/);
  refused({ x: 3 }, /describes no tensors/);
  refused({ x: { dtype: 'F32', shape: [2] } }, /describes no tensors/);
  refused({ x: { dtype: 'F32', shape: [1], data_offsets: [-4, 0] } }, /describes no tensors/);
  refused(
    { x: { dtype: 'F32', shape: [3], data_offsets: [0, 8] } },
    /x \[3\] of float32 needs 12 bytes, the header gives it 8/,
  );
  refused({ x: { dtype: 'F99', shape: [2], data_offsets: [0, 8] } }, /type F99, wanted one of F64/);
  refused({ x: { dtype: 'F32', shape: [4], data_offsets: [0, 16] } }, /cut short: tensor x ends at byte/);
  const same = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
  refused({ x: same, y: same }, /its tensors overlap: they have 16 bytes, and it holds 8\n/);
});

test('gradients flow only where they are asked for', () => {
  scope(() => {
    const x = requireGrad(tensor(Float64Array.of(2, 3)));
    backward(sum(mul(x, x)));
    assert.deepEqual(toNumbers(x.grad!), [4, 6]);
    assert.equal(noGrad(() => mul(x, x)).requiresGrad, false);
    assert.equal(mul(x, x).requiresGrad, true, 'the state is restored');
    assert.throws(
      () =>
        noGrad(() => {
          throw new Error('inside');
        }),
      /inside/,
    );
    assert.equal(mul(x, x).requiresGrad, true, 'after a throw too');
    assert.equal(inference(() => mul(x, x)).requiresGrad, false);
  });
});

test('autocast chooses the precision inside, and not outside', () => {
  scope(() => {
    const [a, b] = [ones([4, 4]), ones([4, 4])];
    assert.equal(autocast(() => matmul(a, b)).dtype, 'bfloat16');
    assert.equal(matmul(a, b).dtype, 'float32');
    assert.equal(autocast(() => sum(a)).dtype, 'float32', 'sums keep their precision');
  });
});

test('generators repeat: from a seed, from a state, and as PyTorch does', () => {
  scope(() => {
    const draw = (rng: ReturnType<typeof generator>): number[] => toNumbers(fillNormal(zeros([4]), rng));
    const first = draw(generator(3));
    assert.deepEqual(draw(generator(3)), first);
    const rng = generator(3);
    draw(rng);
    const { state } = rng;
    const second = draw(rng);
    rng.state = state;
    assert.deepEqual(draw(rng), second);
    defaultGenerator().seed(3);
    assert.deepEqual(draw(defaultGenerator()), first);
    assert.deepEqual(toInt64(randomPermutation(10, 0)), BigInt64Array.of(4n, 1n, 7n, 5n, 3n, 9n, 0n, 8n, 6n, 2n));
    assert.notDeepEqual(
      toNumbers(fillUniform(zeros([4]), generator(1))),
      toNumbers(fillUniform(zeros([4]), generator(2))),
    );
  });
});

test('an error of libtorch names the operator and the shapes it was given', () => {
  scope(() => {
    assert.throws(() => matmul(ones([2, 3]), ones([4, 5])), /matmul.*\[2, 3\].*\[4, 5\]/s);
    assert.throws(() => linear(ones([2, 3]), ones([4, 4])), /linear/);
    assert.throws(() => tensor(Float32Array.of(1, 2, 3), { shape: [2, 2] }), /3|shape/);
    assert.equal(equal(add(ones([2]), 1), tensor(Float32Array.of(2, 2))), true, 'and the next call works');
  });
});

test('the thread count can be set, and the build tells what it has', () => {
  const before = threads();
  setThreads(1);
  assert.equal(threads(), 1);
  setThreads(before);
  assert.throws(() => setThreads(0), /wanted a whole number ≥ 1/);
  const info = buildInfo();
  assert.match(info.libtorch, /^\d+\.\d+\.\d+/);
  assert.equal(typeof info.onednn, 'boolean');
});

/** Runs test/helpers/memory.ts in a process of its own, where nothing else allocates. */
function measured(environment: Record<string, string> = {}): {
  rss: number[];
  live: number[];
  allocator: { installed: boolean; hits: number; idleBytes: number; boundBytes: number; afterTrim: number };
} {
  const script = resolve(import.meta.dirname, '../../test/helpers/memory.js');
  const child = spawnSync(process.execPath, [script], { encoding: 'utf8', env: { ...process.env, ...environment } });
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout);
}

const onLinux = process.platform === 'linux' ? false : 'threads of a process are counted in /proc';

test('loops of our own operators run on as many threads as asked for', { skip: onLinux }, () => {
  const program = `
    import { readdirSync } from 'node:fs';
    import { classDirections_, setThreads, tensor, zeros } from ${JSON.stringify(new URL('./index.js', import.meta.url).href)};
    setThreads(4);
    const [x, starts] = [tensor(new Float32Array(2 ** 20), { shape: [16, 2 ** 16] }), tensor(Int32Array.of(0, 4, 8, 12, 16))];
    const before = readdirSync('/proc/self/task').length;
    classDirections_(zeros([4, 2 ** 16]), x, starts);
    console.log(readdirSync('/proc/self/task').length - before);`;
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' });
  assert.deepEqual([child.stdout.trim(), child.stderr], ['3', '']);
});

const hugePages = '/sys/kernel/mm/transparent_hugepage/enabled';
const withHugePages =
  existsSync(hugePages) && !readFileSync(hugePages, 'utf8').includes('[never]')
    ? false
    : 'the system has no huge pages';

test('arrays of JavaScript are touched in huge pages once the addon is loaded', { skip: withHugePages }, () => {
  const program = `
    import { buildInfo } from ${JSON.stringify(new URL('./index.js', import.meta.url).href)};
    buildInfo();
    const faults = () => process.resourceUsage().minorPageFault;
    const before = faults();
    const arrays = Array.from({ length: 16 }, () => new Float64Array(2 ** 20).fill(1));
    console.log(arrays.length, faults() - before);`;
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' });
  assert.equal(child.stderr, '');
  const faults = Number(child.stdout.split(' ')[1]);
  const pages = (16 * 2 ** 23) / 4096;
  assert.ok(faults < pages / 4, `${faults} faults for ${pages} pages of 4 KB`);
});

/**
 * Bytes that resident memory may gain from step 10 to step 200: V8 grows its young generation to 16 MB and compiles hot
 * code. Steps that kept their activations would gain 190 · 3 MB. `npm run bench -- memory` measures at real sizes.
 */
const RUNTIME_GROWTH = 32 * 2 ** 20;

test('200 training steps: live tensors flat from the second on, resident memory flat, the allocator within its bound', () => {
  const { rss, live, allocator } = measured({ MIXBCT_CACHE_MB: '64' });
  assert.equal(new Set(live.slice(1)).size, 1, String(live.slice(0, 5)));
  assert.ok(rss.at(-1)! <= rss[10]! + RUNTIME_GROWTH, `${rss[10]} → ${rss.at(-1)}`);
  assert.ok(allocator.installed && allocator.hits > 1000, JSON.stringify(allocator));
  assert.equal(allocator.boundBytes, 64 * 2 ** 20);
  assert.ok(allocator.idleBytes <= allocator.boundBytes);
  assert.equal(allocator.afterTrim, 0, 'trimming gives everything idle back');
});

test('the allocator can be left out', () => {
  const { allocator, live } = measured({ MIXBCT_ALLOCATOR: 'system' });
  assert.equal(allocator.installed, false);
  assert.equal(new Set(live.slice(1)).size, 1);
});
