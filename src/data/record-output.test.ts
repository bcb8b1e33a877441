// Record sets appear with all of their files, several together, or not at all; an interrupted command can be given again.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { smallDisk } from '../../test/helpers/small-disk.ts';
import { holdOut, importDataset, openDataset } from './index.ts';
import { writeRecordSets } from './record-output.ts';
import { packImage } from './recordio.ts';

const contents = (folder: string): Record<string, string> =>
  Object.fromEntries(readdirSync(folder).sort().map((name) => [name, readFileSync(join(folder, name), 'latin1')])); // biome-ignore format: short

async function source(t: TestContext) {
  const folder = testFolder(t);
  const prefix = join(folder, 'set');
  await writeTinySet(prefix, { perClass: [3, 3, 3, 3, 3] });
  const dataset = openDataset(prefix);
  t.after(() => dataset.close());
  return { folder, prefix, dataset };
}

/** Holds classes out in a process that is killed at the how manieth rename. */
function killedAtRename(prefix: string, out: string, time: number, force: boolean): void {
  const script = resolve(import.meta.dirname, '../../test/helpers/hold-out-until-killed.js');
  const args = [script, prefix, out, String(time), String(force)];
  const { signal, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  assert.equal(signal, 'SIGKILL', stderr);
}

test('killed between any two of its renames, hold-out given again ends in the bytes of an undisturbed one', async (t) => {
  const { folder, prefix, dataset } = await source(t);
  const [whole, older] = [join(folder, 'whole'), join(folder, 'older')];
  await holdOut(dataset, { classes: 2, seed: 1, out: whole });
  await holdOut(dataset, { classes: 3, seed: 9, out: older });
  // 8 renames end the files, 2 the notes that say so, 18 move the old files aside and the new ones to their names
  for (const time of [1, 9, 10, 11, 13, 16, 18, 21, 23, 26, 28]) {
    const out = join(folder, `killed-${time}`);
    cpSync(older, out, { recursive: true });
    killedAtRename(prefix, out, time, true);
    for (const name of readdirSync(out).filter((file) => file.endsWith('.idx')))
      assert.equal(openDataset(join(out, name.slice(0, -4))).labels()[0], 0, 'an index has its records');
    const said = reportsOf(t);
    await holdOut(dataset, { classes: 2, seed: 1, out, force: true });
    said.restore();
    assert.deepEqual(contents(out), contents(whole), `rename ${time}`);
  }
});

test('given again without --force, an interrupted hold-out is not refused for what it had made itself', async (t) => {
  const { folder, prefix, dataset } = await source(t);
  const whole = join(folder, 'whole');
  await holdOut(dataset, { classes: 2, seed: 1, out: whole });
  const said = reportsOf(t);
  for (const [time, outcome] of [
    [6, /removed the files of an interrupted attempt/],
    [14, /finished an attempt that was killed after all was written/],
  ] as const) {
    const out = join(folder, `killed-${time}`);
    killedAtRename(prefix, out, time, false);
    await holdOut(dataset, { classes: 2, seed: 1, out });
    assert.match(said.text(), outcome);
    assert.deepEqual(contents(out), contents(whole));
  }
  said.restore();
});

test('an import that was killed while its files appeared can be given again', async (t) => {
  const { folder, dataset } = await source(t);
  const whole = join(folder, 'whole');
  await importDataset(dataset, join(whole, 'made'));
  const files = ['made.ids.jsonl', 'made.json', 'made.rec', 'made.idx'];
  assert.deepEqual(Object.keys(contents(whole)).sort(), [...files].sort());
  for (let appeared = 0; appeared <= files.length; appeared++) {
    const out = join(folder, `appeared-${appeared}`);
    const staging = join(out, '.made.set.part');
    mkdirSync(join(staging, 'replaced'), { recursive: true });
    writeFileSync(join(staging, 'complete'), '["made"]');
    for (const [i, file] of files.entries()) cpSync(join(whole, file), join(i < appeared ? out : staging, file));
    const said = reportsOf(t);
    await importDataset(dataset, join(out, 'made'));
    said.restore();
    assert.deepEqual(contents(out), contents(whole), `${appeared} had appeared`);
  }
});

test('a file that is of no record set, or one that is read, is not written over', async (t) => {
  const { folder, prefix, dataset } = await source(t);
  const other = join(folder, 'photos');
  for (const ending of ['json', 'rec', 'idx', 'ids.jsonl']) {
    writeFileSync(`${other}.${ending}`, 'my own notes');
    await assert.rejects(importDataset(dataset, other), new RegExp(`photos\\.${ending} exists already`));
    await assert.rejects(importDataset(dataset, other, { force: true }), /is not a file of a record set/);
    assert.equal(readFileSync(`${other}.${ending}`, 'utf8'), 'my own notes');
    rmSync(`${other}.${ending}`);
  }
  await assert.rejects(
    importDataset(dataset, prefix, { force: true }),
    /set\.(rec|idx) is or holds .*set, which this command reads/,
  );
});

test('on a full disk nothing of a record set is left', async (t) => {
  const { dataset } = await source(t);
  const disk = smallDisk(t, 16 * 1024);
  if (!disk) return;
  for (let blocks = 1; blocks < 4; blocks++) {
    writeFileSync(join(disk, 'ballast'), new Uint8Array(blocks * 4096));
    await assert.rejects(importDataset(dataset, join(disk, 'set')), /the disk is full|need .*, have /);
    assert.deepEqual(readdirSync(disk), ['ballast']);
  }
});

test('however the name of a set is spelled, its files have it', async (t) => {
  const folder = testFolder(t);
  const about = () => ({ sidecar: {} });
  const write = (prefix: string) =>
    writeRecordSets(
      [
        {
          prefix,
          images: 1,
          classes: 1,
          about,
          fill: (writer) => writer.write(1, packImage({ labels: [0], id: 1, image: Buffer.from('x') })),
        },
      ],
      {},
    );
  for (const [spelled, name] of [
    ['a.rec', 'a'],
    ['b.idx', 'b'],
    ['c/', 'c'],
    ['d//', 'd'],
    ['e', 'e'],
  ] as const) {
    await write(`${folder}/${spelled}`);
    assert.deepEqual(readdirSync(folder).sort(), [`${name}.idx`, `${name}.json`, `${name}.rec`]);
    for (const file of readdirSync(folder)) rmSync(join(folder, file));
  }
  for (const odd of ['/', '.', '..', `${folder}/.`, `${folder}/..`])
    await assert.rejects(write(odd), /wanted the prefix of a data set's files, such as .*train/);
  assert.deepEqual(readdirSync(folder), []);
});

test('the name of a device, or of a link to one, is no prefix', async (t) => {
  const { folder, dataset } = await source(t);
  symlinkSync('/dev/null', join(folder, 'link'));
  for (const out of ['/dev/null', join(folder, 'link')])
    await assert.rejects(importDataset(dataset, out), /is a device, pipe or socket: a data set is files/);
  assert.deepEqual(readdirSync(folder).filter((name) => name.startsWith('link')), ['link']); // biome-ignore format: short
  assert.deepEqual(readdirSync('/dev').filter((name) => name.startsWith('null')), ['null']); // biome-ignore format: short
});
