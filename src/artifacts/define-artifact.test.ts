import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { z } from 'zod';
import { testFolder } from '../../test/helpers/folder.ts';
import { checkedBySchema, checkedByShape, defineArtifact } from './define-artifact.ts';
import { fileDigest } from './digest.ts';
import { writeJson } from './json-file.ts';
import { MANIFEST } from './manifest.ts';

const schema = z.object({ size: z.int(), digest: z.string(), unit: z.string().default('pixels') });
const about = { kind: 'chart', name: 'a chart', command: 'mixbct draw', describe: () => ({ facts: {}, sources: [] }) };
const digests = ({ digest }: z.infer<typeof schema>) => ({ 'chart.svg': digest });
const chart = defineArtifact<z.infer<typeof schema>>({ ...about, check: checkedBySchema(schema), digests });

function draw(path: string, text: string, force = false) {
  return chart.write(path, { force }, (directory) => {
    const file = join(directory, 'chart.svg');
    writeFileSync(file, text);
    return { size: text.length, digest: fileDigest(file), unit: 'letters' };
  });
}

test('an artefact is opened as it was written, and its manifest lists its files', async (t) => {
  const path = join(testFolder(t), 'chart');
  const written = await draw(path, 'abc');
  assert.deepEqual(written.contents, ['chart.svg']);
  assert.deepEqual(chart.open(path), written);
  chart.verify(path, written);
  writeFileSync(join(path, 'chart.svg'), 'abd');
  assert.throws(
    () => chart.verify(path, written),
    /chart\.svg: was changed or damaged .*\n.*make it again with: mixbct draw/,
  );
});

test('--force replaces no folder with a file that its manifest does not list, of whatever ending', async (t) => {
  const path = join(testFolder(t), 'chart');
  await draw(path, 'abc');
  await draw(path, 'abcd', true);
  writeFileSync(join(path, 'photo.png'), 'mine');
  await assert.rejects(draw(path, 'abc', true), /chart holds photo\.png, which is not part of it/);
  assert.ok(existsSync(join(path, 'photo.png')));
  rmSync(join(path, 'photo.png'));
  rmSync(join(path, 'chart.svg'));
  mkdirSync(join(path, 'chart.svg'));
  await assert.rejects(draw(path, 'abc', true), /chart holds chart\.svg, which is not part of it/);
  assert.ok(existsSync(join(path, 'chart.svg')), 'a folder in place of a listed file');
});

test('without such a list, as 0.3.0 wrote it, files of the endings of artefacts are replaced and others are not', async (t) => {
  const path = join(testFolder(t), 'chart');
  const { contents: _, ...manifest } = await draw(path, 'abc');
  writeJson(join(path, MANIFEST), manifest);
  writeFileSync(join(path, 'notes.txt'), 'mine');
  await assert.rejects(draw(path, 'abc', true), /chart holds notes\.txt/);
  const other = join(testFolder(t), 'other');
  await draw(other, 'abc');
  writeJson(join(other, MANIFEST), manifest);
  writeFileSync(join(other, 'curve.png'), 'old');
  await draw(other, 'abcd', true);
  assert.equal(existsSync(join(other, 'curve.png')), false);
});

test('manifests of older format versions are brought to the latest, and those of newer ones are refused', async (t) => {
  const path = join(testFolder(t), 'chart');
  const written = await draw(path, 'abc');
  const second = defineArtifact<{ readonly width: number; readonly height: number }>({
    ...about,
    check: checkedByShape({ width: 0, height: 0 }),
    migrations: [
      ({ size, ...rest }) => ({ ...rest, width: size }),
      ({ width, ...rest }) => ({ ...rest, width, height: width }),
    ],
  });
  const { version, width, height } = second.open(path);
  assert.deepEqual({ version, width, height }, { version: 3, width: 3, height: 3 });
  writeJson(join(path, MANIFEST), { ...written, version: 2, width: 7 });
  assert.equal(second.open(path).height, 7);
  writeJson(join(path, MANIFEST), { ...written, version: 4 });
  assert.throws(() => second.open(path), /manifest\.json: has format version 4, this mixbct reads up to 3/);
  writeJson(join(path, MANIFEST), { ...written, version: 0 });
  assert.throws(() => second.open(path), /its "version" is damaged/);
});

test('what is no such artefact is named, with the command that makes one', async (t) => {
  const folder = testFolder(t);
  const path = join(folder, 'chart');
  const refused = (message: RegExp) => assert.throws(() => chart.open(path), message);
  refused(/chart: no such folder, wanted a chart\n.*make one with: mixbct draw/);
  mkdirSync(path);
  refused(/chart: is no finished chart \(it has no manifest\.json\)/);
  for (const [manifest, message] of [
    [{ kind: 'table' }, /chart: is a "table", wanted a chart/],
    [null, /chart: is something else, wanted a chart/],
    [{ kind: 'chart', version: 1, mixbct: '0.3.0', size: 'big' }, /manifest\.json: its "size" is damaged/],
    [{ kind: 'chart', version: 1, size: 3, digest: '' }, /its "mixbct" is damaged/],
  ] as const) {
    writeJson(join(path, MANIFEST), manifest);
    refused(message);
  }
  writeJson(join(path, MANIFEST), { kind: 'chart', version: 1, mixbct: '0.3.0', size: 3, digest: '' });
  assert.equal(chart.open(path).unit, 'pixels');
});
