import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeImages } from '../../test/helpers/image-tree.ts';
import { listImages } from './image-list.ts';

/** A folder of images in folders, with other files and a circle of links. */
function tree(t: TestContext): { folder: string; at: (name: string) => string } {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  writeImages(at('photos'), ['b/2.pgm', 'b/10.pgm', 'a.pgm', 'B.pgm', 'b/deep/1.pgm']);
  writeFileSync(at('photos/notes.txt'), 'no image');
  mkdirSync(at('photos/.hidden'));
  writeImages(at('photos/.hidden'), ['x.pgm']);
  symlinkSync('..', at('photos/b/up'));
  return { folder, at };
}

const text = (content: string) => ({ stdin: Readable.from([Buffer.from(content)]) });

test('files and folders, walked and sorted by code unit, are called by their paths', async (t) => {
  const { at } = tree(t);
  const images = await listImages([at('photos/b/2.pgm'), at('photos/b/deep'), at('photos/a.pgm')]);
  assert.deepEqual(images, ['b/2.pgm', 'b/deep/1.pgm', 'a.pgm'].map((name) => ({ id: at(`photos/${name}`), path: at(`photos/${name}`) }))); // biome-ignore format: short
  const all = await listImages([at('photos')]);
  assert.deepEqual(all.map(({ id }) => id), ['B.pgm', 'a.pgm', 'b/10.pgm', 'b/2.pgm', 'b/deep/1.pgm'].map((name) => at(`photos/${name}`))); // biome-ignore format: short
});

test('a list has paths and JSON objects, from standard input or a file, with any line ends', async (t) => {
  const { at } = tree(t);
  const lines = 'a b.jpg\r\n{"id": "42", "path": "c.jpg", "more": 1}\nd.jpg';
  const wanted = [
    { id: 'a b.jpg', path: 'a b.jpg' },
    { id: '42', path: 'c.jpg' },
    { id: 'd.jpg', path: 'd.jpg' },
  ];
  assert.deepEqual(await listImages(['-'], text(lines)), wanted);
  assert.deepEqual(await listImages(['-'], text(`\ufeff${lines}\n`)), wanted);
  writeFileSync(at('list'), lines);
  assert.deepEqual(await listImages([], { list: at('list') }), wanted);
  assert.equal((await listImages([at('photos/a.pgm')], { list: at('list') })).length, 4);
});

test('what names no image, or one twice, is refused with its line', async (t) => {
  const { folder, at } = tree(t);
  mkdirSync(at('empty'));
  await assert.rejects(listImages([]), /no images were named/);
  await assert.rejects(listImages([at('none')]), /none: no such file or folder/);
  await assert.rejects(listImages([at('empty')]), /empty: holds no images/);
  await assert.rejects(listImages([at('photos'), at('photos/a.pgm')]), /1 image is named twice: .*a\.pgm/);
  await assert.rejects(listImages([], { list: folder }), /cannot be read/);
  for (const [lines, problem] of [
    ['', /standard input: lists no images/],
    ['a\n\nb', /line 2 names no image/],
    ['a\0b', /line 1 names no image/],
    ['{"id": 1, "path": "a"}', /line 1 has no "id" and "path" of text/],
    ['a\n{"id": "1"', /line 2 is no JSON object/],
    ['{"id": "1", "path": ""}', /line 1 has no "id" and "path"/],
  ] as const)
    await assert.rejects(listImages(['-'], text(lines)), problem);
  await assert.rejects(listImages(['-'], { stdin: Readable.from([Buffer.from([0x61, 0xff])]) }), /is not in UTF-8/);
});
