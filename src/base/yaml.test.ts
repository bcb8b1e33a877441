import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { FileError, UserError } from './errors.ts';
import { asSystemError } from './system-error.ts';
import { parseYaml, readYaml, yamlOf } from './yaml.ts';

test('a document is read in UTF-8, with or without a byte order mark, and another encoding is named', (t) => {
  const path = join(testFolder(t), 'a.yaml');
  const read = (bytes: Buffer): unknown => {
    writeFileSync(path, bytes);
    return readYaml(path);
  };
  assert.deepEqual(read(Buffer.from('title: Größe\n')), { title: 'Größe' });
  assert.deepEqual(read(Buffer.from('\ufefftitle: Größe\n')), { title: 'Größe' });
  for (const [bytes, problem] of [
    [Buffer.from('\ufefftitle: a\n', 'utf16le'), /a\.yaml: is in UTF-16, wanted UTF-8\n.*iconv -f UTF-16/],
    [Buffer.from('title: a\n', 'utf16le'), /is in UTF-16/],
    [Buffer.from('title: a\n', 'utf16le').swap16(), /is in UTF-16/],
    [Buffer.from('a: 1\nb: Größe\n', 'latin1'), /is not in UTF-8 \(line 2\)\n.*LATIN1/],
  ] as const)
    assert.throws(() => read(bytes), (error) => error instanceof FileError && problem.test(error.message)); // biome-ignore format: short
  assert.throws(() => readYaml(join(path, 'below')), /cannot be read/);
});

test('a document that stands for more than a tree of its size is refused', () => {
  const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]', ...['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'].map((name, i) => `${name}: &${name} [${new Array(9).fill(`*${'abcdefgh'[i]}`).join(', ')}]`)].join('\n'); // biome-ignore format: a table
  const endless = `a: ${'['.repeat(20_000)}`;
  for (const [text, problem] of [
    [bomb, /alias/],
    ['a: &a { b: *a }', /an alias in it stands for what it is a part of/],
    [`${'['.repeat(100)}${']'.repeat(100)}`, /nests deeper than 64 levels/],
    [`${'{a: '.repeat(30_000)}1${'}'.repeat(30_000)}`, /nests deeper|not valid YAML/],
    [endless, /nests deeper|not valid YAML/],
    ['__proto__: { polluted: 1 }', /has a key called __proto__/],
    ['a: { constructor: 1 }', /has a key called constructor/],
    ['a: *nothing', /not valid YAML/],
    ['a: [', /not valid YAML/],
    ['<<: 3', /not valid YAML|merge/i],
  ] as const)
    assert.throws(() => parseYaml(text), (error) => error instanceof UserError && problem.test(error.message)); // biome-ignore format: short
  assert.deepEqual(parseYaml('a: &a [1, 2]\nb: *a\n'), { a: [1, 2], b: [1, 2] });
});

test('a failed system call is told with its path and what to do, anything else is left as it is', () => {
  const failed = (code: string, path?: string): unknown =>
    asSystemError(Object.assign(new Error(`${code}: x`), { code, syscall: 'open', ...(path && { path }) }));
  for (const code of ['EACCES', 'ENOTDIR', 'ENAMETOOLONG', 'EISDIR', 'EMFILE', 'EROFS', 'ELOOP', 'EIO', 'ENOMEM']) {
    const error = failed(code, '/some/where');
    assert.ok(error instanceof UserError && error.message.startsWith('/some/where: '), code);
    assert.ok(error.message.includes(code));
  }
  assert.ok((failed('ENAMETOOLONG', `/${'x'.repeat(5000)}`) as Error).message.length < 500);
  assert.ok(failed('EMFILE') instanceof UserError);
  assert.ok(asSystemError(new RangeError('Array buffer allocation failed')) instanceof UserError);
  const ours = new TypeError('x is not a function');
  assert.equal(asSystemError(ours), ours);
});

test('a tree is written as the YAML that people write, and read again as it was', () => {
  assert.equal(
    yamlOf({ name: 'r18', network: { width: 0.5, dropPath: null }, milestones: [20, 26], seed: 1e-7 }),
    'name: r18\nnetwork:\n  width: 0.5\n  dropPath: null\nmilestones:\n  - 20\n  - 26\nseed: 1e-7\n',
  );
  const odd = [
    '',
    ' a',
    'a: b',
    '- a',
    'yes',
    'Null',
    '12',
    '1e3',
    '#a',
    'a #b',
    '"',
    "it's",
    'ä\n',
    '{',
    '~',
    '2020-01-01',
  ];
  const tree = { ...Object.fromEntries(odd.map((text, i) => [`k${i}`, text])), odd, empty: {}, none: [], deep: [[1]] };
  assert.deepEqual(parseYaml(yamlOf(tree)), tree);
});
