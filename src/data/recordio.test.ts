import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { FileError } from '../base/errors.ts';
import { packImage, RecordFile, readIndex, recordFiles, unpackImage, writeRecords } from './recordio.ts';

const MAGIC = [0x0a, 0x23, 0xd7, 0xce];

test('a header record and an image record have the bytes of methods.md 1.1', async (t) => {
  const prefix = join(testFolder(t), 'a');
  await writeRecords(prefix, (writer) => {
    writer.write(0, packImage({ labels: [3, 1], id: 0, image: new Uint8Array() }));
    writer.write(1, packImage({ labels: [0, 1], id: 1, image: Buffer.from('ABCDE') }));
  });
  const { rec, idx } = recordFiles(prefix);
  const expected =
    '0a23d7ce20000000020000000000000000000000000000000000000000000000000040400000803f' +
    '0a23d7ce2500000002000000000000000100000000000000' +
    '0000000000000000000000000000803f4142434445000000';
  assert.equal(readFileSync(rec).toString('hex'), expected);
  assert.equal(readFileSync(idx, 'utf8'), '0\t0\n1\t40\n');
});

test('payloads that contain the magic word are cut and joined again', async (t) => {
  const prefix = join(testFolder(t), 'a');
  const payloads = [
    Buffer.from(MAGIC),
    Buffer.from([...MAGIC, ...MAGIC, 1, 2, 3]),
    Buffer.from([1, 2, 3, 4, ...MAGIC, 5]),
    Buffer.from([1, ...MAGIC, 2, 3, 4, 5, 6, 7, ...MAGIC]), // the first is unaligned, so is the second
    Buffer.from([1, 2, 3, 4, ...MAGIC, 5, 6, 7, 8, ...MAGIC]),
    Buffer.alloc(0),
  ];
  await writeRecords(prefix, (writer) => {
    for (const [key, payload] of payloads.entries()) writer.write(key, payload);
  });
  const { rec, idx } = recordFiles(prefix);
  const { keys, offsets } = readIndex(idx);
  const file = new RecordFile(rec);
  t.after(() => file.close());
  for (const [i, payload] of payloads.entries())
    assert.deepEqual(file.read(offsets[i]!, keys[i]!), payload, `payload ${i}`);
  const bytes = readFileSync(rec);
  const flags: number[] = [];
  for (let at = 0; at < bytes.length; at += 4)
    if (bytes.readUInt32LE(at) === 0xced7230a) flags.push(bytes.readUInt32LE(at + 4) >>> 29);
  assert.deepEqual(
    flags,
    [1, 3, 1, 2, 3, 1, 3, 0, 1, 2, 3, 0],
    'the word at a multiple of 4 is found only where a chunk starts',
  );
});

test('scalar and vector labels come back', () => {
  for (const labels of [[7], [7, 2], [1, 2, 3]]) {
    const { image, ...record } = unpackImage(packImage({ labels, id: 2 ** 40, image: Buffer.from('x') }));
    assert.deepEqual(record, { labels, id: 2 ** 40 });
    assert.equal(Buffer.from(image).toString(), 'x');
  }
  assert.equal(
    packImage({ labels: [7], id: 1, image: new Uint8Array() }).readUInt32LE(0),
    0,
    'a single label is a scalar',
  );
});

test('damage is reported with key and offset', async (t) => {
  const prefix = join(testFolder(t), 'a');
  const { rec, idx } = recordFiles(prefix);
  await writeRecords(prefix, (writer) => {
    for (let key = 0; key < 3; key++) writer.write(key, Buffer.alloc(100, key));
  });
  const bytes = readFileSync(rec);
  const read = (key: number): Buffer => {
    const file = new RecordFile(rec);
    try {
      return file.read(readIndex(idx).offsets[key]!, key);
    } finally {
      file.close();
    }
  };
  truncateSync(rec, 108 * 2 + 50);
  assert.throws(
    () => read(2),
    (error) => error instanceof FileError && /key 2 at offset 216: cut short/.test(error.message),
  );
  truncateSync(rec, 108 * 2 + 3);
  assert.throws(() => read(2), /key 2 at offset 216: cut short/);
  bytes[108] = 0;
  writeFileSync(rec, bytes);
  assert.throws(() => read(1), /key 1 at offset 108: wanted the magic word ced7230a at byte 108, got ced72300/);
  bytes[108] = 0x0a;
  bytes.writeUInt32LE((2 << 29) | 100, 112);
  writeFileSync(rec, bytes);
  assert.throws(() => read(1), /continuation flag 2, out of place/);
  writeFileSync(idx, '0\t0\nseven\t9\n');
  assert.throws(() => readIndex(idx), /line 2 is not "key<TAB>offset"/);
  assert.throws(() => readIndex(`${idx}.none`), /no such file/);
});

test('a writer that fails leaves nothing under the final names', async (t) => {
  const folder = testFolder(t);
  await assert.rejects(
    writeRecords(join(folder, 'a'), (writer) => {
      writer.write(0, Buffer.from('x'));
      throw new Error('no more');
    }),
    /no more/,
  );
  const { readdirSync } = await import('node:fs');
  assert.deepEqual(readdirSync(folder), []);
});
