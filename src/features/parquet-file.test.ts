// Row groups as other systems write them: large ones, pages that end inside of a row, runs of equal values.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { SchemaElement } from 'hyparquet';
import { ByteWriter, type ColumnSource, ParquetWriter, parquetWriteBuffer } from 'hyparquet-writer';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import { testFolder } from '../../test/helpers/folder.ts';
import { ParquetFile } from './parquet-file.ts';

/** A column `embedding` of lists. */
const lists = (type: 'FLOAT' | 'DOUBLE'): SchemaElement[] => [
  { name: 'embedding', converted_type: 'LIST', repetition_type: 'OPTIONAL', num_children: 1 },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  { name: 'element', type, repetition_type: 'OPTIONAL' },
];

const written = (t: TestContext, columnData: readonly ColumnSource[], columns: readonly SchemaElement[]): string => {
  const path = join(testFolder(t), 'x.parquet');
  const schema = [{ name: 'root', num_children: columnData.length }, ...columns];
  writeFileSync(path, Buffer.from(parquetWriteBuffer({ columnData: [...columnData], schema, rowGroupSize: 1 << 30 })));
  return path;
};

test('a row group of any size comes as one array of numbers, which is not copied by the value', async (t) => {
  const [rows, dim] = [30_000, 128];
  const vectors = Array.from({ length: rows }, (_, i) => Array.from({ length: dim }, (_, d) => i + d / 64));
  const path = written(t, [{ name: 'embedding', data: vectors }], lists('FLOAT'));
  const module = new URL('./parquet-file.js', import.meta.url);
  const script = `
    const { ParquetFile } = await import('${module}');
    const file = await ParquetFile.open('${path}');
    const { numbers, dim } = await file.vectors('embedding', file.groups[0]);
    console.log(file.groups.length, dim, numbers.constructor.name, numbers.length, numbers.at(-1));
    process.exit();
  `;
  // the limit is that of the thread, too; lists of 4 million numbers take 31 MB in each of both, and three times that on their way
  const printed = execFileSync(process.execPath, ['--max-old-space-size=48', '--input-type=module', '-e', script]);
  assert.equal(String(printed), `1 ${dim} Float32Array ${rows * dim} ${rows - 1 + (dim - 1) / 64}\n`);
});

test('rows that pages divide are put together', async (t) => {
  const path = join(testFolder(t), 'x.parquet');
  const vectors = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]; // biome-ignore format: short
  const schema = [{ name: 'root', num_children: 1 }, ...lists('DOUBLE')];
  const bytes = new ByteWriter();
  const writer = new ParquetWriter({ writer: bytes, schema });
  const start = bytes.offset;
  const values = vectors.flatMap((vector) => vector.map((number, i) => ({ number, repetition: i === 0 ? 0 : 1 })));
  for (const [from, to] of [
    [0, 2],
    [2, 7],
    [7, 8],
    [8, 12],
  ]) {
    // biome-ignore format: short
    const page = new ByteWriter();
    const some = values.slice(from, to);
    for (const levels of [some.map(({ repetition }) => repetition), some.map(() => 3)]) {
      page.appendUint32(2 * levels.length);
      for (const level of levels) {
        page.appendVarInt(1 << 1); // a run of one
        page.appendUint8(level);
      }
    }
    for (const { number } of some) page.appendFloat64(number);
    writePageHeader(bytes, {
      ...{ type: 'DATA_PAGE', uncompressed_page_size: page.offset, compressed_page_size: page.offset },
      data_page_header: { num_values: some.length, encoding: 'PLAIN', definition_level_encoding: 'RLE', repetition_level_encoding: 'RLE' }, // biome-ignore format: short
    });
    bytes.appendBytes(page.getBytes());
  }
  const size = BigInt(bytes.offset - start);
  const chunk = {
    ...{ type: 'DOUBLE' as const, encodings: ['PLAIN' as const], codec: 'UNCOMPRESSED' as const },
    ...{ path_in_schema: ['embedding', 'list', 'element'], num_values: 12n, data_page_offset: BigInt(start) },
    ...{ total_uncompressed_size: size, total_compressed_size: size },
  };
  writer.row_groups.push({ columns: [{ file_offset: 0n, meta_data: chunk }], num_rows: 4n, total_byte_size: size });
  writer.num_rows = 4n;
  writer.finish();
  writeFileSync(path, bytes.getBytes());
  using file = await ParquetFile.open(path);
  assert.deepEqual(await file.column('embedding', file.groups[0]!), vectors);
  assert.deepEqual(await file.vectors('embedding', file.groups[0]!, { double: true }), {
    dim: 3,
    numbers: Float64Array.from(vectors.flat()),
  });
});

test('a sorted column of few values is read, whose pages take a few bytes for any number of rows', async (t) => {
  const rows = 200_000;
  const label = Int32Array.from({ length: rows }, (_, i) => Math.floor(i / 70_000));
  const columns = [
    { name: 'label', data: label },
    { name: 'embedding', data: Array.from(label, (_, i) => [i]) },
  ];
  const path = written(t, columns, [{ name: 'label', type: 'INT32', repetition_type: 'REQUIRED' }, ...lists('FLOAT')]);
  using file = await ParquetFile.open(path);
  assert.ok(file.metadata.row_groups[0]!.columns[0]!.meta_data!.total_compressed_size < 200n);
  assert.deepEqual(await file.column('label', file.groups[0]!), [...label]);
});
