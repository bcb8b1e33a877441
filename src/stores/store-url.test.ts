import assert from 'node:assert/strict';
import { test } from 'node:test';
import { galleryColumns, parseStoreUrl, withoutPassword } from './store-url.ts';

test('a URL names the kind, the place, the table and the columns', () => {
  const parts = (url: string) => {
    const { text: _, ...rest } = parseStoreUrl(url);
    return rest;
  };
  const plain = { table: undefined, vector: undefined, id: undefined };
  assert.deepEqual(parts('lancedb:./gallery#faces'), { ...plain, kind: 'lancedb', location: './gallery', table: 'faces' }); // biome-ignore format: short
  assert.deepEqual(parts('sqlite:/data/a b.db#faces?vector=embedding&id=key'), { kind: 'sqlite', location: '/data/a b.db', table: 'faces', vector: 'embedding', id: 'key' }); // biome-ignore format: short
  assert.deepEqual(parts('files:./gallery.npy'), { ...plain, kind: 'files', location: './gallery.npy' });
  assert.deepEqual(parts('files:g.parquet?vector=embedding'), { ...plain, kind: 'files', location: 'g.parquet', vector: 'embedding' }); // biome-ignore format: short
  assert.deepEqual(parts('postgresql://ann:s@host:5433/db?sslmode=require#faces?id=key'), { kind: 'postgres', location: 'postgres://ann:s@host:5433/db?sslmode=require', table: 'faces', vector: undefined, id: 'key' }); // biome-ignore format: short
});

test('no text of a URL holds its password', () => {
  const secret = 's3/c@r:t';
  for (const url of [
    `postgres://ann:${secret}@host/db#faces`,
    `postgres://ann@host/db?user=x&password=${secret}#faces`,
    `postgresql://:${secret}@host/db`,
  ]) {
    assert.ok(!parseStoreUrl(url).text.includes(secret), parseStoreUrl(url).text);
    assert.ok(parseStoreUrl(url).location.includes(secret));
    assert.throws(
      () => parseStoreUrl(`${url}?column=x`.replace(/^postgres(ql)?/, 'postgre')),
      (error: Error) => /no URL of a store.*\n.*did you mean postgres:/.test(error.message) && !error.message.includes(secret), // biome-ignore format: short
    );
  }
  assert.equal(withoutPassword('cannot reach postgres://ann:x@host:1/db'), 'cannot reach postgres://ann:***@host:1/db');
  assert.equal(withoutPassword('sqlite:./a:b@c.db#t'), 'sqlite:./a:b@c.db#t');
});

test('what is no URL of a store is refused with what one looks like', () => {
  for (const text of [
    'gallery.db',
    'sqlite',
    'http://host/db',
    '',
    ':x',
    'SQLITE:a.db',
    'c:\\gallery.db',
    'sqlite:a\0b',
  ])
    assert.throws(() => parseStoreUrl(text), /no URL of a store, wanted lancedb:, postgres:, sqlite:, files:/, text);
  assert.throws(() => parseStoreUrl('sqlite:'), /names no file or folder\n.*sqlite:\.\/gallery\.db#faces/);
  assert.throws(() => parseStoreUrl('postgres://#faces'), /names no server/);
  assert.throws(() => parseStoreUrl('sqlite:a.db#faces?column=x'), /"column" is not known there, wanted vector and id/);
});

test('columns are those of the URL, or the usual ones if there is one choice', () => {
  const url = (query: string) => parseStoreUrl(`sqlite:a.db#faces${query}`);
  assert.deepEqual(galleryColumns(url(''), ['id', 'vector', 'path']), { id: 'id', vector: 'vector' });
  assert.deepEqual(galleryColumns(url(''), ['embedding', 'id']), { id: 'id', vector: 'embedding' });
  assert.deepEqual(galleryColumns(url('?vector=face&id=key'), ['face', 'key', 'vector']), {
    id: 'key',
    vector: 'face',
  });
  assert.throws(() => galleryColumns(url(''), ['id', 'vector', 'embedding']), /does not say which/);
  assert.throws(
    () => galleryColumns(url(''), ['id', 'face']),
    /has no column vector or embedding; its columns: id, face/,
  );
  assert.throws(() => galleryColumns(url('?id=key'), ['id', 'vector']), /has no column key/);
});
