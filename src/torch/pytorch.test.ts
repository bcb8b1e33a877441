import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkpointPath, checkpoints, oddCheckpointPath, oddCheckpoints } from '../../test/helpers/checkpoints.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { gap } from '../../test/helpers/formula.ts';
import { zipOf } from '../../test/helpers/zip.ts';
import { FileError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { type HostTensor, pytorchArchive, readPytorch, readPytorchState, scope, tensor, to } from './index.ts';
import { openZip } from './zip.ts';

/** The numbers are stored, not computed. */
const EXACT = 0;

const distance = ({ bytes, ...about }: HostTensor, expected: readonly number[]): number =>
  scope(() => gap(to(tensor(bytes, about), { dtype: 'float64' }), expected));

test('tensors of every type and layout come back as PyTorch has them', async () => {
  const read = await readPytorch(checkpointPath('tensors.pt'));
  assert.deepEqual([...read.keys()], Object.keys(checkpoints.tensors));
  for (const [name, { shape, numbers }] of Object.entries(checkpoints.tensors)) {
    const found = read.get(name)!;
    assert.deepEqual(found.shape, shape, name);
    assert.equal(distance(found, numbers), EXACT, name);
  }
  for (const dtype of ['float64', 'float32', 'float16', 'bfloat16', 'int64', 'int32', 'int16', 'int8', 'uint8', 'bool'])
    assert.equal(read.get(dtype)!.dtype, dtype);
});

test('the state is found, also as one part of a checkpoint and in half precision', async () => {
  for (const { file, entries, leftOut } of checkpoints.networks) {
    const names = [...(await readPytorch(checkpointPath(file))).keys()];
    const counted = names.filter((name) => !name.endsWith('num_batches_tracked'));
    const extra = leftOut.filter((name) => !name.endsWith('num_batches_tracked'));
    assert.equal(counted.length, entries + extra.length, file);
  }
  const half = await readPytorch(checkpointPath('r50.pt'));
  assert.equal(half.get('fc.weight')!.dtype, 'float16');
  assert.equal(half.get('bn1.num_batches_tracked')!.dtype, 'int64');
});

test('the format before PyTorch 1.6 is read, views of one storage and all', async () => {
  const read = await readPytorch(oddCheckpointPath('views_legacy.pt'));
  assert.deepEqual([...read.keys()], Object.keys(oddCheckpoints.views));
  for (const [name, { shape, numbers }] of Object.entries(oddCheckpoints.views)) {
    assert.deepEqual(read.get(name)!.shape, shape, name);
    assert.equal(distance(read.get(name)!, numbers), EXACT, name);
  }
  assert.deepEqual([...(await readPytorch(checkpointPath('legacy.pt'))).keys()], ['weight']);
});

test('a file of that format that is cut short anywhere, or lies about its sizes, is refused', async (t) => {
  const path = join(testFolder(t), 'model.pt');
  const whole = readFileSync(oddCheckpointPath('views_legacy.pt'));
  for (let length = 0; length < whole.length; length += 7) {
    writeFileSync(path, whole.subarray(0, length));
    await assert.rejects(readPytorch(path), FileError, `${length} of ${whole.length} bytes`);
  }
  const lying = Buffer.from(whole);
  lying.writeBigInt64LE(2n ** 60n, whole.lastIndexOf(Buffer.from([24, 0, 0, 0, 0, 0, 0, 0]))); // elements of the storage
  writeFileSync(path, lying);
  await assert.rejects(readPytorch(path), /is cut short: storage \d+ at byte \d+/);
});

test('objects beside a state, and entries of it that are no tensors, are skipped and never made', async () => {
  for (const file of ['beside.pt', 'beside_legacy.pt', 'protocol4.pt']) {
    const { tensors, skipped } = await readPytorchState(oddCheckpointPath(file));
    assert.equal(tensors.size, oddCheckpoints.networks[0]!.entries, file);
    assert.ok([...tensors.keys()].every((name) => name.startsWith('module._orig_mod.backbone.')));
    assert.deepEqual(skipped, []);
  }
  const { skipped } = await readPytorchState(oddCheckpointPath('inside.pt'));
  assert.deepEqual(
    skipped.map((entry) => entry.split(' ')[0]),
    ['_extra', 'step', 'note', 'scale'],
  );
  assert.match(skipped[0]!, /train_script\.Meter/);
});

const data = 'r/data.pkl';
const vector = (key: string, { numel = 2, offset = 0, shape = '\x85', stride = 1 } = {}): string =>
  `ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01${key}U\x03cpuK${String.fromCharCode(numel)}tQ` +
  `K${String.fromCharCode(offset)}K\x02${shape}K${String.fromCharCode(stride)}\x85\x89}tR`;
const dict = (pairs: Readonly<Record<string, string>>): string =>
  `}(${Object.entries(pairs).map(([key, value]) => `U${String.fromCharCode(key.length)}${key}${value}`).join('')}u`; // biome-ignore format: one piece
const numbers = Buffer.from(new Float32Array([3, 4]).buffer);
const pickled = (text: string): Buffer => Buffer.from(`\x80\x02${text}.`, 'latin1');
const archive = (text: string, more: Readonly<Record<string, Uint8Array | string>> = {}): Buffer =>
  zipOf({ [data]: pickled(text), 'r/data/0': numbers, ...more });

test('an archive assembled by hand is read, so that those below fail for their defect alone', async (t) => {
  const path = join(testFolder(t), 'model.pt');
  writeFileSync(path, archive(dict({ w: vector('0') }), { 'r/byteorder': 'little' }));
  const read = await readPytorch(path);
  assert.equal(distance(read.get('w')!, [3, 4]), EXACT);
});

test('large entries are written in pieces of their own memory, and come back', async (t) => {
  const path = join(testFolder(t), 'model.pt');
  const bytes = new Uint8Array((40 << 20) + 4).map((_, i) => i * 31);
  const weights: HostTensor = { dtype: 'uint8', shape: [bytes.length], bytes };
  const chunks = await pytorchArchive(new Map([['w', weights], ['none', { ...weights, shape: [0], bytes: bytes.subarray(0, 0) }]])); // biome-ignore format: short
  const pieces = chunks.filter(({ buffer }) => buffer === bytes.buffer);
  assert.ok(pieces.length > 1 && pieces.every(({ length }) => length < bytes.length));
  assert.equal(pieces.reduce((sum, { length }) => sum + length, 0), bytes.length, 'nothing of it is copied'); // biome-ignore format: short
  writeFileSync(path, Buffer.concat(chunks));
  const read = await readPytorch(path);
  assert.ok(Buffer.from(read.get('w')!.bytes).equals(bytes));
  assert.deepEqual(read.get('none')!.shape, [0]);
});

test('a file of more than 2 GiB is read entry by entry', async (t) => {
  const path = join(testFolder(t), 'model.pt');
  const from = 2 ** 31 + 4096; // before it the file is empty, and takes no space
  const fd = openSync(path, 'w');
  const whole = zipOf({ [data]: pickled(dict({ w: vector('0') })), 'r/data/0': numbers }, from);
  writeSync(fd, whole, 0, whole.length, from);
  closeSync(fd);
  assert.equal(distance((await readPytorch(path)).get('w')!, [3, 4]), EXACT);
});

test('a list of pairs that becomes a dict again and again, and a tensor of too many dimensions, are refused', async (t) => {
  const path = join(testFolder(t), 'model.pt');
  const dicts = (pairs: number, times: number): string =>
    `(lq\x01(${'K\x01K\x02\x86'.repeat(pairs)}e${'ccollections\nOrderedDict\nh\x01\x85R0'.repeat(times)}`;
  writeFileSync(path, archive(`${dicts(100, 1)}0${dict({ w: vector('0') })}`));
  assert.equal((await readPytorch(path)).size, 1);
  writeFileSync(path, archive(`${dicts(1000, 1000)}0${dict({ w: vector('0') })}`));
  await assert.rejects(readPytorch(path), /dicts of more pairs than the file has bytes: one list is used too often/);
  const many = `(${'K\x01'.repeat(65)}t`;
  writeFileSync(path, archive(dict({ w: vector('0', { shape: `\x850${many}` }) })));
  await assert.rejects(readPytorch(path), /a tensor without storage, offset, shape and strides/);
});

test('what is no state is refused with what it is and what to do', async (t) => {
  const path = join(testFolder(t), 'model.pt');
  const state = dict({ w: vector('0') });
  const whole = readFileSync(checkpointPath('r18.pt'));
  const flipped = Buffer.from(whole);
  flipped[whole.length >> 1]! ^= 1;
  const cases: readonly (readonly [Buffer | string, RegExp])[] = [
    ['a line of text\n', /is no checkpoint of PyTorch 1\.6 or newer.*\n.*torch\.save\(model\.state_dict\(\)/],
    ['', /is no checkpoint/],
    [whole.subarray(0, 100_000), /or it is cut short/],
    [flipped, /is damaged: .*checksum/],
    [
      readFileSync(checkpointPath('script.pt')),
      /is a TorchScript program, wanted a state_dict\n.*torch\.jit\.load\(.*torch\.save|is a TorchScript program.*\n.*torch\.save\(torch\.jit\.load/,
    ],
    [
      readFileSync(checkpointPath('module.pt')),
      /it names torch\.nn\.modules\.linear\.Linear.*\n.*weights_only=False\)\.state_dict\(\)/,
    ],
    [archive('cos\nsystem\nU\x04true\x85R'), /GLOBAL at byte 2: it names os\.system/],
    [archive(state, { 'r/byteorder': 'big' }), /big-endian/],
    [zipOf({ 'r/other': 'x' }), /is a ZIP archive, but no checkpoint/],
    [archive('N'), /holds no dict of tensors/],
    [archive('}'), /its keys are: none/],
    [archive(dict({ epoch: 'K\x03', weights: state })), /nor has one under state_dict.*its keys are: epoch, weights/],
    [archive(dict({ model: state, state_dict: state })), /holds several states \(state_dict, model\)/],
    [zipOf({ [data]: pickled(state) }), /the numbers of w \(r\/data\/0\) are missing/],
    [archive(dict({ w: vector('0', { offset: 1 }) })), /a tensor that ends at element 2 of a storage of 2/],
    [archive(dict({ w: vector('0', { numel: 3 }) })), /r\/data\/0 has 8 bytes, w wants 3 elements of float32/],
    [
      archive(dict({ w: vector('0', { shape: '\x86' }) })),
      /REDUCE.*a tensor without storage, offset, shape and strides/,
    ],
    [
      archive(dict({ w: vector('0', { shape: '\x850J\xff\xff\xff\x7f\x85', stride: 0 }) })),
      /describes 8589934588 bytes of tensors, but is itself \d+ bytes long/,
    ],
  ];
  for (const [content, message] of cases) {
    writeFileSync(path, content);
    await assert.rejects(readPytorch(path), (error) => error instanceof FileError && message.test(error.message));
  }
  await assert.rejects(readPytorch(`${path}.none`), /cannot be read.*ENOENT/);
});

test('five hundred damaged checkpoints are read or refused cleanly', async (t) => {
  const path = join(testFolder(t), 'model.pt');
  const rng = new Rng('damaged checkpoints');
  const damaged = (bytes: Buffer): Buffer => {
    const out = Buffer.from(bytes);
    for (let changes = 1 + rng.integer(3); changes > 0; changes--) out[rng.integer(out.length)] = rng.integer(256);
    return rng.integer(8) === 0 ? out.subarray(0, rng.integer(out.length)) : out;
  };
  const whole = readFileSync(checkpointPath('tensors.pt'));
  using zip = await openZip(checkpointPath('tensors.pt'), '');
  const parts: Record<string, Uint8Array> = {};
  for (const name of zip.names) parts[name] = await zip.read(name);
  const pickle = Buffer.from(parts['tensors/data.pkl']!);
  const legacy = readFileSync(oddCheckpointPath('views_legacy.pt'));
  let refused = 0;
  for (let i = 0; i < 500; i++) {
    // the older format, the archive itself, or a pickle whose checksum is right
    const content =
      i % 3 === 0
        ? damaged(legacy)
        : i % 3 === 1
          ? damaged(whole)
          : zipOf({ ...parts, 'tensors/data.pkl': damaged(pickle) });
    writeFileSync(path, content);
    await readPytorch(path).catch((error) => {
      assert.ok(error instanceof FileError, String(error?.stack));
      refused++;
    });
  }
  assert.ok(refused > 50 && refused < 500, `${refused} refused`);
});
