import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeImages } from '../../test/helpers/image-tree.ts';
import { FileError } from '../base/errors.ts';
import { openDataset } from './open-dataset.ts';
import { describeSkippedFiles, type SkippedFiles } from './skipped-files.ts';
import { holdOut } from './split.ts';

function opened(path: string) {
  using dataset = openDataset(path);
  return {
    ids: Array.from({ length: dataset.size }, (_, i) => dataset.id(i)),
    labels: [...dataset.labels()],
    classes: dataset.sidecar.classes!,
    digest: dataset.digest,
    skipped: dataset.skippedFiles!,
    lines: describeSkippedFiles(dataset.skippedFiles!),
  };
}

const counts = ({ skipped }: SkippedFiles): Record<string, number> =>
  Object.fromEntries(skipped.map(({ reason, count }) => [reason, count]));

test('a plain folder has the digest, positions and labels of 0.3.0, however it is spelled', (t) => {
  const folder = testFolder(t);
  writeImages(folder, ['b/1.pgm', 'B/2.pgm', 'a/10.pgm', 'a/2.pgm', 'ä/1.pgm']);
  const { ids, labels, classes, digest, lines } = opened(folder);
  assert.deepEqual(classes, ['B', 'a', 'b', 'ä']);
  assert.deepEqual(ids, ['B/2.pgm', 'a/10.pgm', 'a/2.pgm', 'b/1.pgm', 'ä/1.pgm']);
  assert.deepEqual(labels, [0, 1, 1, 2, 3]);
  assert.deepEqual(lines, []);
  assert.equal(digest, 'bfefcc55ef322c1c', 'as 0.3.0 made it of the path without a slash at its end');
  assert.equal(opened(`${folder}/`).digest, digest);
  assert.equal(opened(join(folder, 'a', '..', '.')).digest, digest);
});

test('links to class folders, folders and images are followed, and never round in circles', (t) => {
  const folder = testFolder(t);
  writeImages(join(folder, 'elsewhere'), ['x/1.pgm', 'x/2.pgm', 'deep/y/3.pgm']);
  const root = join(folder, 'root');
  writeImages(root, ['a/0.pgm']);
  symlinkSync(join(folder, 'elsewhere/x'), join(root, 'linked'));
  symlinkSync(join(folder, 'elsewhere/x/1.pgm'), join(root, 'a/image-link.pgm'));
  symlinkSync(join(folder, 'elsewhere/deep'), join(root, 'a/more'));
  symlinkSync(join(folder, 'nowhere'), join(root, 'a/dangling.pgm'));
  symlinkSync(join(folder, 'nowhere'), join(root, 'dangling class'));
  symlinkSync('itself.pgm', join(root, 'a/itself.pgm'));
  symlinkSync('.', join(root, 'a/self'));
  symlinkSync('../..', join(root, 'a/above'));
  symlinkSync('..', join(root, 'a/more-above'));
  symlinkSync('.', join(root, 'self'));
  symlinkSync('/', join(root, 'everything'));
  const { ids, classes, skipped } = opened(root);
  assert.deepEqual(ids, ['a/0.pgm', 'a/image-link.pgm', 'a/more/y/3.pgm', 'linked/1.pgm', 'linked/2.pgm']);
  assert.deepEqual(classes, ['a', 'linked']);
  assert.deepEqual(counts(skipped), {
    'links that lead nowhere': 3,
    'links to a folder that was read already': 5,
  });
  assert.deepEqual(skipped.emptyClasses, ['everything', 'self']);
});

test('a class that links to another is told with both names; one thing is told as one', (t) => {
  const folder = testFolder(t);
  writeImages(folder, ['a/1.pgm', 'a/2.pgm', 'b/1.pgm', 'b/c/2.pgm', 'b/notes.txt', 'd/1.pgm']);
  symlinkSync('b', join(folder, 'e'));
  symlinkSync('../a', join(folder, 'd/more'));
  const { classes, ids, skipped, lines } = opened(folder);
  assert.deepEqual(classes, ['a', 'b', 'd', 'e']);
  assert.equal(ids.length, 9);
  assert.deepEqual(skipped.sharedFolders, { count: 3, first: ['d/more = a', 'e = b', 'e/c = b/c'] });
  assert.ok(
    lines.includes(
      'warning: 3 folders are in two classes by links, with the same images in both (d/more = a, e = b, e/c = b/c)',
    ),
    lines.join('\n'),
  );
  writeImages(folder, ['top.pgm', '.hidden']);
  symlinkSync('nowhere', join(folder, 'f'));
  const told = opened(folder).lines.join('\n');
  for (const line of ['1 hidden file or folder (', '1 image outside of class folders (', '1 link that leads nowhere ('])
    assert.ok(told.includes(line), told);
});

test('folders whose links multiply are read once for each class', (t) => {
  const folder = testFolder(t);
  writeImages(folder, ['a/f30/1.pgm', 'b/1.pgm']);
  for (let depth = 0; depth < 30; depth++) {
    mkdirSync(join(folder, `a/f${depth}`));
    for (const way of ['left', 'right']) symlinkSync(`../f${depth + 1}`, join(folder, `a/f${depth}/${way}`));
  }
  const { ids, skipped } = opened(folder);
  assert.equal(ids.length, 2);
  assert.ok(counts(skipped)['links to a folder that was read already']! <= 90);
});

test('hidden things and what systems leave are no classes and no images, and are counted', (t) => {
  const folder = testFolder(t);
  writeImages(folder, ['a/1.pgm', 'a/2.pgm', 'b/1.pgm']);
  const clean = opened(folder);
  const hidden = [
    ...['.git/x.png', '.ipynb_checkpoints/1.png', '__MACOSX/a/1.png', '@eaDir/1.jpg', 'a/.ipynb_checkpoints/1-checkpoint.png'],
    ...['a/._1.png', 'a/.hidden.jpg', 'b/Thumbs.db', 'b/desktop.ini', '.DS_Store', 'b/@eaDir/1.jpg'],
  ]; // biome-ignore format: a list
  writeImages(folder, hidden);
  const { skipped, ...after } = opened(folder);
  assert.deepEqual(after.ids, clean.ids);
  assert.deepEqual(after.classes, clean.classes);
  assert.equal(after.digest, clean.digest);
  assert.deepEqual(counts(skipped), { 'hidden files and folders': hidden.length });
});

test('all kinds that the decoders read are images, in any case; others are counted by kind', (t) => {
  const folder = testFolder(t);
  const kinds = ['jpg', 'jpeg', 'jpe', 'jfif', 'png', 'webp', 'gif', 'tif', 'tiff', 'avif', 'pgm', 'ppm', 'pnm'];
  writeImages(
    folder,
    [...kinds, ...kinds.map((kind) => kind.toUpperCase())].map((kind) => `a/x.${kind}`),
  );
  assert.equal(opened(folder).ids.length, 2 * kinds.length);
  writeImages(folder, ['a/1.heic', 'a/2.HEIC', 'a/labels.csv', 'a/README', 'top.jpg', 'top.txt', 'b/c/only.mp4']);
  const { ids, skipped, lines, classes } = opened(folder);
  assert.equal(ids.length, 2 * kinds.length);
  assert.deepEqual(classes, ['a']);
  assert.deepEqual(counts(skipped), {
    '.heic files': 2,
    '.csv files': 1,
    '.mp4 files': 1,
    '.txt files': 1,
    'images outside of class folders': 1,
    'nameless files': 1,
  });
  assert.deepEqual(skipped.emptyClasses, ['b']);
  assert.equal(lines[0], 'skipped: 2 .heic files (a/1.heic, a/2.HEIC)');
  assert.equal(lines.at(-1), '1 folder holds no image and is no class (b)');
});

test('a class is a folder at the top with all that lies below it; a folder called x.jpg is a folder', (t) => {
  const folder = testFolder(t);
  writeImages(folder, ['a/9.pgm', 'a/session/1.pgm', 'a/session/raw/2.pgm', 'x.jpg/1.pgm', 'b/y.jpg/1.pgm']);
  const { ids, labels, classes, skipped, lines } = opened(folder);
  assert.deepEqual(classes, ['a', 'b', 'x.jpg']);
  assert.deepEqual(ids, ['a/9.pgm', 'a/session/1.pgm', 'a/session/raw/2.pgm', 'b/y.jpg/1.pgm', 'x.jpg/1.pgm']);
  assert.deepEqual(labels, [0, 0, 0, 1, 2]);
  assert.equal(skipped.deeper.count, 3);
  assert.match(lines[0]!, /^3 images lie deeper than class\/instance; each belongs to the folder at the top/);
});

test('pipes and sockets are never opened, names that are not UTF-8 are counted', (t) => {
  const folder = testFolder(t);
  writeImages(folder, ['a/1.pgm']);
  execFileSync('mkfifo', [join(folder, 'a/pipe.jpg'), join(folder, 'pipe')]);
  symlinkSync('pipe.jpg', join(folder, 'a/link to pipe.png'));
  symlinkSync('/dev/zero', join(folder, 'a/zero.jpg'));
  writeImages(folder, ['a/bad.pgm', 'bad/1.pgm']);
  const bytes = (path: string): Buffer => Buffer.concat([Buffer.from(join(folder, path)), Buffer.from([0xff, 0xfe])]);
  renameSync(join(folder, 'a/bad.pgm'), bytes('a/1'));
  renameSync(join(folder, 'bad'), bytes('b'));
  const { ids, skipped } = opened(folder);
  assert.deepEqual(ids, ['a/1.pgm']);
  assert.deepEqual(counts(skipped), { 'pipes, sockets and devices': 4, 'names that are not UTF-8': 2 });
});

test('a folder without images says what it holds', (t) => {
  const folder = testFolder(t);
  mkdirSync(join(folder, 'empty'));
  writeImages(folder, ['1.jpg', '2.jpg', 'a/x.heic']);
  assert.throws(
    () => openDataset(folder),
    (error) =>
      error instanceof FileError &&
      /holds no images\n {2}skipped: 2 images outside of class folders \(1\.jpg, 2\.jpg\)/.test(error.message) &&
      /2 folders hold no image/.test(error.message),
  );
});

test('a file that takes the place of an image later is told, not waited for', (t) => {
  const folder = testFolder(t);
  writeImages(folder, ['a/1.pgm', 'a/2.pgm']);
  using dataset = openDataset(folder);
  renameSync(join(folder, 'a/1.pgm'), join(folder, 'a/3.pgm'));
  assert.throws(() => dataset.record(0), /1\.pgm: no such file/);
  execFileSync('mkfifo', [join(folder, 'a/1.pgm')]);
  assert.throws(() => dataset.record(0), /1\.pgm: is a named pipe, socket or device, wanted a file/);
  writeFileSync(join(folder, 'a/2.pgm'), '');
  assert.throws(() => dataset.record(1), /2\.pgm: is empty, an image was expected/);
});

test('an empty file is no image that could be written into a record set', async (t) => {
  const folder = testFolder(t);
  writeImages(join(folder, 'in'), ['a/1.pgm', 'b/1.pgm', 'c/1.pgm']);
  writeFileSync(join(folder, 'in/c/2.jpg'), '');
  using dataset = openDataset(join(folder, 'in'));
  const out = join(folder, 'out');
  await assert.rejects(holdOut(dataset, { classes: 1, seed: 1, out }), /c\/2\.jpg: is empty, an image was expected/);
  assert.ok(!existsSync(out) || readdirSync(out).length === 0, 'nothing is left');
});
