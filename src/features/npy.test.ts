import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readDamaged, writeAnew } from '../../test/helpers/damage.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { NpyFile, NpyWriter, readNpy, writeNpy } from './npy.ts';

test('.npy files have the bytes NumPy writes for their header, and come back', (t) => {
  const path = join(testFolder(t), 'a.npy');
  const arrays = [
    ['<f4', Float32Array.of(1.5, -2, 3, 4), [2]],
    ['<f8', Float64Array.of(1 / 3), []],
    ['<i8', BigInt64Array.of(2n ** 60n, -1n), []],
    ['<i4', Int32Array.of(-7, 8), []],
    ['|u1', Uint8Array.of(1, 255), []],
    ['|b1', Uint8Array.of(1, 0), []],
  ] as const;
  for (const [type, data, rowShape] of arrays) {
    writeNpy(path, type, data as never, rowShape);
    const back = readNpy(path, [type]);
    assert.deepEqual(back.data, data);
    assert.deepEqual(back.shape, rowShape.length > 0 ? [data.length / 2, 2] : [data.length]);
  }
  writeNpy(path, '<f4', Float32Array.of(1, 2, 3, 4), [2]);
  const bytes = readFileSync(path);
  assert.equal(bytes.subarray(0, 10).toString('hex'), '934e554d505901007600');
  assert.equal(
    bytes.toString('latin1', 10, 128).trimEnd(),
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }",
  );
  assert.equal(bytes.length, 128 + 16);
});

test('.npy files that are none, or not what is wanted, are refused by name', (t) => {
  const path = join(testFolder(t), 'a.npy');
  writeNpy(path, '<f4', new Float32Array(100), [10]);
  assert.throws(() => readNpy(path, ['<i8']), /a\.npy: holds <f4, wanted <i8/);
  truncateSync(path, 300);
  assert.throws(() => readNpy(path, ['<f4']), /cut short: \[10, 10\] of <f4 needs 528 bytes, 300 there/);
  writeFileSync(path, readFileSync(path, 'latin1').replace('False', 'True '), 'latin1');
  assert.throws(() => readNpy(path, ['<f4']), /Fortran order/);
  writeFileSync(path, 'PK\x03\x04 nothing of the kind');
  assert.throws(() => readNpy(path, ['<f4']), /is no \.npy file/);
  writeFileSync(path, Buffer.from('934e554d505901', 'hex'));
  assert.throws(() => readNpy(path, ['<f4']), /its header cannot be read/);
  writeFileSync(path, fromNumpy('934e554d505904007600', '', ''));
  assert.throws(() => readNpy(path, ['<f4']), /version 4 is not known/);
  const bigEndian = "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }";
  writeFileSync(path, fromNumpy('934e554d505901007600', bigEndian, '3f800000'));
  assert.throws(() => readNpy(path, ['<f4']), /holds >f4, wanted <f4/);
  assert.throws(() => readNpy(join(path, '..'), ['<f4']), /is a folder, wanted a file/);
  assert.throws(() => readNpy(`${path}.none`, ['<f4']), /no such file/);
});

/** A file as NumPy 2.4 makes it: `prefix` and `data` are its bytes in hexadecimal, the text between is padded to 128. */
const fromNumpy = (prefix: string, text: string, data: string): Buffer => {
  const start = Buffer.from(prefix, 'hex');
  const header = `${text.padEnd(127 - start.length)}\n`;
  return Buffer.concat([start, Buffer.from(header, 'latin1'), Buffer.from(data, 'hex')]);
};

test('files that NumPy wrote are read, in header versions 1 to 3', (t) => {
  const path = join(testFolder(t), 'a.npy');
  // np.lib.format.write_array(file, np.array([[1.5, -2, 3], [0, .25, -1e9]], '<f4'), version=(v, 0))
  const matrix = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  for (const prefix of ['934e554d505901007600', '934e554d5059020074000000', '934e554d5059030074000000']) {
    writeFileSync(path, fromNumpy(prefix, matrix, '0000c03f000000c000004040000000000000803e286b6ece'));
    const { data, shape } = readNpy(path, ['<f4']);
    assert.deepEqual(shape, [2, 3]);
    assert.deepEqual(data, Float32Array.of(1.5, -2, 3, 0, 0.25, -1e9));
  }
  // np.save(file, np.array([True, False, True])), and np.save(file, np.array([3, -1], 'i8'))
  const booleans = fromNumpy(
    '934e554d505901007600',
    "{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }",
    '010001',
  );
  writeFileSync(path, booleans);
  assert.deepEqual(readNpy(path, ['|b1']).data, Uint8Array.of(1, 0, 1));
  writeNpy(path, '|b1', Uint8Array.of(1, 0, 1));
  assert.deepEqual(readFileSync(path), booleans, 'and ours has the same bytes');
  const integers = "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }";
  writeFileSync(path, fromNumpy('934e554d505901007600', integers, '0300000000000000ffffffffffffffff'));
  assert.deepEqual(readNpy(path, ['<i8']).data, BigInt64Array.of(3n, -1n));
  // np.save(file, np.float32(3)): no dimensions
  const scalar = "{'descr': '<f4', 'fortran_order': False, 'shape': (), }";
  writeFileSync(path, fromNumpy('934e554d505901007600', scalar, '00004040'));
  assert.deepEqual(readNpy(path, ['<f4']), { data: Float32Array.of(3), shape: [], type: '<f4' });
});

test('rows appended in parts come back in any order, and rows that are not there are refused', (t) => {
  const path = join(testFolder(t), 'a.npy');
  const writer = new NpyWriter(path, '<f4', [2]);
  for (const part of [[0, 1, 2, 3], [4, 5], [], [6, 7, 8, 9]]) writer.append(Float32Array.from(part));
  assert.throws(() => writer.append(Float32Array.of(1)), /1 elements are no whole rows of \[2\]/);
  writer.close();
  using file = new NpyFile(path, ['<f4']);
  assert.deepEqual(file.shape, [5, 2]);
  assert.deepEqual(file.gather([4, 0, 1, 1]), Float32Array.of(8, 9, 0, 1, 2, 3, 2, 3));
  assert.deepEqual(file.read(1, 2), Float32Array.of(2, 3, 4, 5));
  // row -1 would be bytes of the header
  for (const row of [-1, 5, Number.NaN]) assert.throws(() => file.gather([row]), RangeError);
  assert.throws(() => file.read(4, 2), /rows 4 … 5 of 5/);
});

test('ten thousand damaged arrays are refused, or give as many elements as they say', (t) => {
  const path = join(testFolder(t), 'x.npy');
  const types = ['<f4', '<i4', '<i8', '|b1'] as const;
  const sources: Buffer[] = [];
  for (const shape of [[3], [2], [2, 3]]) {
    writeNpy(
      path,
      '<f4',
      Float32Array.from({ length: 12 }, (_, i) => i),
      shape,
    );
    sources.push(readFileSync(path));
    writeNpy(path, '<i8', BigInt64Array.from([1n, 2n, 3n]), []);
    sources.push(readFileSync(path));
  }
  const counts = readDamaged(sources, (damaged) => {
    writeAnew(path, damaged);
    const { data, shape } = readNpy(path, types);
    assert.equal(data.length, shape.reduce((product, n) => product * n, 1)); // biome-ignore format: short
    assert.ok(data.byteLength <= damaged.length);
  });
  assert.ok(counts.read > 500 && counts.refused > 500, JSON.stringify(counts));
});
