// What --force may replace: what the command itself writes, and nothing else.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { UserError } from '../base/errors.ts';
import { writeJson } from './json-file.ts';
import { MANIFEST } from './manifest.ts';
import { replacedPath } from './output-claim.ts';
import { writeArtifact } from './write-artifact.ts';

/** Makes an artefact of the kind `dogs`. */
const make = (path: string, options: { force?: boolean; inputs?: string[] } = {}, text = 'new') =>
  writeArtifact(path, { kind: 'dogs', ...options }, (directory) => {
    writeFileSync(join(directory, 'text.json'), text);
    return { kind: 'dogs' };
  });

const textAt = (path: string): string => readFileSync(join(path, 'text.json'), 'utf8');

test('--force replaces an artefact of its own kind and nothing else', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  await make(at('dogs'), {}, 'old');
  await assert.rejects(make(at('dogs')), /dogs exists already\n.*--force/);
  await make(at('dogs'), { force: true });
  assert.equal(textAt(at('dogs')), 'new');

  for (const name of ['photos', 'cats', 'damaged', 'above/dogs']) mkdirSync(at(name), { recursive: true });
  writeFileSync(at('photos/wedding.jpg'), 'irreplaceable');
  writeJson(at(`cats/${MANIFEST}`), { kind: 'cats' });
  writeFileSync(at(`damaged/${MANIFEST}`), '{"kind":"dogs"');
  writeFileSync(at('file'), 'a file');
  await make(at('input'));
  await make(at('holder'));
  mkdirSync(at('holder/inside'));
  await make(at('album'));
  mkdirSync(at('album/photos'));
  await make(at('noted'));
  writeFileSync(at('noted/notes.txt'), 'mine');
  symlinkSync(at('dogs'), at('link'));
  symlinkSync(at('nowhere'), at('dangling'));
  symlinkSync(folder, at('round'));
  const refused: readonly [string, RegExp, string[]?][] = [
    ['photos', /photos is not a finished artefact of the kind "dogs"/],
    ['cats', /cats is not/],
    ['damaged', /damaged is not/],
    ['file', /file is not/],
    ['link', /link is a link to .*dogs, which is not followed\n.*\/dogs\)/],
    ['dangling', /dangling is a link to/],
    ['input', /input is or holds .*input, which this command reads/, [at('input')]],
    ['input', /input is or holds .*round\/input, which/, [at('round/input')]],
    ['holder', /holder is or holds .*inside, which/, [at('holder/inside')]],
    ['album', /album holds photos, which is not part of it/],
    ['noted', /noted holds notes\.txt, which/],
    ['photos/new', /photos\/new lies inside .*photos, which this command reads/, [at('photos')]],
    ['photos/class/new', /new lies inside .*round\/photos, which/, [at('round/photos')]],
    ['.', /is the current folder or holds it/],
    ['above', /is not/],
  ];
  const before = readdirSync(folder, { recursive: true }).sort();
  for (const [name, problem, inputs = []] of refused)
    await assert.rejects(
      make(name === '.' ? process.cwd() : at(name), { force: true, inputs }),
      (error) => error instanceof UserError && problem.test(error.message),
      name,
    );
  await assert.rejects(make(at('dangling')), /exists already/);
  assert.deepEqual(readdirSync(folder, { recursive: true }).sort(), before);
  mkdirSync(at('empty'));
  await make(at('empty'), { force: true });
  assert.equal(textAt(at('empty')), 'new', 'nothing is lost with an empty folder');
});

test('what is replaced stands until the new one is complete, and is put back after a kill between both', async (t) => {
  const folder = testFolder(t);
  const out = join(folder, 'dogs');
  await make(out, {}, 'old');
  const fails = writeArtifact(out, { kind: 'dogs', force: true }, () => {
    assert.equal(textAt(out), 'old');
    throw new Error('out of memory');
  });
  await assert.rejects(fails, /out of memory/);
  assert.equal(textAt(out), 'old');
  // as a kill after the old one has moved leaves it
  mkdirSync(replacedPath(out));
  writeFileSync(join(replacedPath(out), 'text.json'), 'older');
  writeJson(join(replacedPath(out), MANIFEST), { kind: 'dogs' });
  await make(out, { force: true }, 'newer');
  assert.deepEqual([textAt(out), readdirSync(folder)], ['newer', ['dogs']]);
});

test('hidden folders of killed attempts at an output are removed and said; those of others stay', async (t) => {
  const folder = testFolder(t);
  for (const name of ['.dogs.0123abcd.part', '.dogs.0123456789abcdef.part', '.dogs.mine.part', '.dog.0123abcd.part'])
    mkdirSync(join(folder, name));
  const said = reportsOf(t);
  await make(join(folder, 'dogs'));
  const text = said.text();
  said.restore();
  assert.match(text, /dogs: removed the files of an interrupted attempt/);
  assert.deepEqual(readdirSync(folder).sort(), ['.dog.0123abcd.part', '.dogs.mine.part', 'dogs']);
  assert.ok(existsSync(join(folder, 'dogs', MANIFEST)));
});

test('an output lies in no artefact, and no folder takes the name of a record set', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  await writeArtifact(at('cats'), { kind: 'cats' }, () => ({ kind: 'cats', mixbct: '0.3.0' }));
  mkdirSync(at('cluster'));
  writeJson(at(`cluster/${MANIFEST}`), { kind: 'Deployment' });
  mkdirSync(at('beside'));
  for (const name of ['set.rec', 'half.idx', 'beside.rec']) writeFileSync(at(name), '');
  symlinkSync(at('cats'), at('link'));
  const refused: readonly [string, RegExp][] = [
    ['cats/inside', /inside lies inside .*cats, a finished artefact of the kind "cats"/],
    ['cats/deep/inside', /lies inside .*cats,/],
    ['link/inside', /lies inside .*cats,/],
    ['set', /a folder .*set would have the name of a data set \(.*set\.rec\)/],
    ['set/inside', /a folder .*set would/],
    ['half', /half\.idx/],
    ['beside', /beside\.rec/],
  ];
  const before = readdirSync(folder, { recursive: true }).sort();
  for (const force of [false, true])
    for (const [name, problem] of refused)
      await assert.rejects(
        make(at(name), { force }),
        (error) => error instanceof UserError && problem.test(error.message),
        name,
      );
  assert.deepEqual(readdirSync(folder, { recursive: true }).sort(), before);
  for (const name of ['cluster/dogs', 'beside/dogs', 'new/dogs']) {
    await make(at(name));
    assert.equal(textAt(at(name)), 'new');
  }
});
