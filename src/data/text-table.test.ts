import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { FileError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { type ColumnType, linesEndingInOne, readTable, type TableOptions } from './text-table.ts';

function tableOf(t: TestContext) {
  const path = join(testFolder(t), 'table.txt');
  return <const C extends readonly ColumnType[]>(text: string, columns: C, options: TableOptions = {}) => {
    writeFileSync(path, text);
    return [...readTable(path, columns, options)].map(({ from, count, columns }) => ({
      from,
      count,
      columns: columns.map((values) => values && Array.from<string | number>(values)),
    }));
  };
}

test('columns of every kind, in chunks, with every way to end a line', (t) => {
  const read = tableOf(t);
  const kinds = ['text', 'integer', 'number'] as const;
  const first = {
    from: 1,
    count: 2,
    columns: [
      ['a.jpg', 'ü b'.slice(0, 1)],
      [1, 2147483647],
      [0.5, -2],
    ],
  };
  const second = { from: 3, count: 1, columns: [['c'], [0], [1e-3]] };
  for (const end of ['\n', '\r\n'])
    for (const last of ['', end, end + end])
      assert.deepEqual(
        read(`a.jpg 1 .5${end}ü 2147483647 -2${end}c 0 1e-3${last}`, kinds, { chunk: 2 }),
        [first, second],
        JSON.stringify(end + last),
      );
  assert.deepEqual(read('', ['integer']), []);
  assert.deepEqual(read('\n\n', ['integer']), []);
  assert.deepEqual(read('TEMPLATE,SUBJECT\n', ['integer', 'integer'], { separator: ',', header: true }), []);
  assert.deepEqual(
    read('TEMPLATE,SUBJECT,FILE\n7,8,"a, b"\n9,10\n', ['integer', 'integer'], { separator: ',', header: true, more: true }),
    [{ from: 2, count: 2, columns: [[7, 9], [8, 10]] }],
  ); // biome-ignore format: short
  assert.deepEqual(read('1 x 3\n', ['skip', 'text', 'integer']), [{ from: 1, count: 1, columns: [null, ['x'], [3]] }]);
});

test('numbers are those that JavaScript reads, to the last bit', (t) => {
  const rng = new Rng('numbers');
  const texts = Array.from({ length: 5000 }, () => {
    const digits = Array.from({ length: 1 + rng.integer(19) }, () => rng.integer(10)).join('');
    const point = rng.integer(digits.length + 1);
    const exponent = rng.integer(8) === 0 ? `e${rng.integer(40) - 20}` : '';
    return `${rng.integer(2) ? '-' : ''}${digits.slice(0, point)}${rng.integer(5) ? '.' : ''}${digits.slice(point)}${exponent}`;
  });
  const [rows] = tableOf(t)(texts.join('\n'), ['number']);
  assert.deepEqual(rows!.columns[0], texts.map(Number));
});

test('a table of many blocks equals its slow twin', (t) => {
  const rng = new Rng('pairs');
  const lines = Array.from({ length: 200_000 }, () => [rng.integer(100_000), rng.integer(2 ** 31), rng.integer(2)]);
  const text = lines.map((line) => line.join(' ')).join('\n');
  assert.ok(text.length > 3 << 20, 'several blocks');
  const chunks = tableOf(t)(text, ['integer', 'integer', 'integer'], { chunk: 70_000 });
  assert.deepEqual(
    chunks.map(({ from, count }) => [from, count]),
    [[1, 70_000], [70_001, 70_000], [140_001, 60_000]],
  ); // biome-ignore format: short
  for (const c of [0, 1, 2])
    assert.deepEqual(
      chunks.flatMap(({ columns }) => columns[c]!),
      lines.map((line) => line[c]),
    );
});

test('what is wrong is told with file, line and column', (t) => {
  const read = tableOf(t);
  const cases: readonly (readonly [string, readonly ColumnType[], RegExp, TableOptions?])[] = [
    ['1 2 3\n4 5\n', ['integer', 'integer', 'integer'], /table\.txt: line 2: wanted 3 columns, got 2/],
    ['1 2 3 4\n', ['integer', 'integer', 'integer'], /line 1: wanted 3 columns, got 4/],
    ['1,2,3\n', ['integer', 'integer', 'integer'], /wanted 3 columns, got 1\n.*blanks or tabs/],
    ['1 2\n', ['integer', 'integer'], /wanted 2 columns, got 1\n.*commas/, { separator: ',' }],
    ['1 -2\n', ['integer', 'integer'], /line 1, column 2: wanted a whole number from 0 to 2147483647, got "-2"/],
    ['1 2147483648\n', ['integer', 'integer'], /column 2: .* got "2147483648"/],
    [`1 ${'9'.repeat(500)}\n`, ['integer', 'integer'], /column 2: .* got "9{40}"/],
    ['1 \n', ['integer', 'integer'], /line 1: wanted 2 columns, got 1/],
    ['1,,2\n', ['integer', 'integer'], /line 1, column 2: .* got ""/, { separator: ',', more: true }],
    ['\ufeff1 2\n3 x\n', ['integer', 'integer'], /line 2, column 2: .* got "x"/],
    ['1 2 \n \t\n3 4\n', ['integer', 'integer'], /line 2: is empty, but more lines follow/],
    ['x7,8\n9,10\n', ['integer', 'integer'], /line 1, column 1: .* got "x7"/, { separator: ',', header: true }],
    ['1 2.0\n', ['integer', 'integer'], /column 2: .* got "2\.0"/],
    ['a 1\nb nan\n', ['text', 'number'], /line 2, column 2: wanted a number, got "nan"/],
    ['a 1e999\n', ['text', 'number'], /wanted a number, got "1e999"/],
    ['a .\n', ['text', 'number'], /wanted a number, got "\."/],
    ['1 2\n\n3 4\n', ['integer', 'integer'], /line 2: is empty, but more lines follow/],
    ['h\n1\nx\n', ['integer'], /line 3, column 1: .* got "x"/, { header: true }],
    ['x'.repeat(2 << 20), ['text'], /line 1 is longer than 1048576 bytes/],
  ];
  for (const [text, columns, message, options] of cases)
    assert.throws(
      () => read(text, columns, options),
      (error) => error instanceof FileError && message.test(error.message),
      JSON.stringify(text.slice(0, 40)),
    );
  assert.throws(() => [...readTable('/no/such/table', ['integer'])], /no such file/);
});

test('blanks, tabs, a byte order mark and a header that is not there change nothing', (t) => {
  const read = tableOf(t);
  const kinds = ['text', 'integer', 'number'] as const;
  const plain = read('a.jpg 1 .5\nb.jpg 2 -1\n', kinds);
  for (const text of [
    '\ufeffa.jpg 1 .5\nb.jpg 2 -1',
    'a.jpg\t1\t.5\nb.jpg\t2\t-1\t\n',
    'a.jpg  1   .5  \r\nb.jpg 2 -1 \r\n \r\n',
    ' a.jpg 1 .5\n\tb.jpg 2 \t-1\n\n \n',
  ])
    assert.deepEqual(read(text, kinds), plain, JSON.stringify(text));
  const csv = { separator: ',', header: true, more: true } as const;
  const rows = (from: number) => [{ from, count: 2, columns: [[7, 9], [8, 10]] }]; // biome-ignore format: short
  for (const [text, from] of [
    ['7,8,x\n9,10\n', 1],
    ['\ufeff7,8\n9,10', 1],
    [' 7 , 8 ,x y\r\n9\t,\t10 \r\n', 1],
    ['\ufeffTEMPLATE_ID,SUBJECT_ID,FILENAME\r\n7, 8\n9,10\n \n', 2],
  ] as const)
    assert.deepEqual(read(text, ['integer', 'integer'], csv), rows(from), JSON.stringify(text));
  const path = join(testFolder(t), 'utf16.txt');
  writeFileSync(path, '\ufeff1 2\n', 'utf16le');
  assert.throws(() => [...readTable(path, ['integer', 'integer'])], /utf16\.txt: is text in UTF-16, wanted UTF-8/);
});

test('lines whose last cell is 1 are found without reading the others, in order, across blocks', (t) => {
  const path = join(testFolder(t), 'pairs.txt');
  const label = (i: number): number => Number(i % 7 === 0 || i % 11 === 3);
  const lines = Array.from({ length: 200_000 }, (_, i) => `${i} 1${i} ${label(i)}`);
  const wanted = lines.filter((_, i) => label(i) === 1);
  for (const end of ['\n', '\r\n', ' \n', '\t\r\n']) {
    writeFileSync(path, lines.join(end)); // the last line has no end
    assert.deepEqual(
      [...linesEndingInOne(path)].map((line) => line.trim()),
      wanted,
    );
  }
  writeFileSync(path, '\ufeff1 2 1\r\n3 4 1\n5 6 0\n7 8 01\n9 0\t1\n1 2 11\n1 2 10\n');
  assert.deepEqual([...linesEndingInOne(path)], ['1 2 1', '3 4 1', '7 8 01', '9 0\t1']);
});
