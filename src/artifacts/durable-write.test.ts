// Files are written whole, or an error says so and nothing stands at their name.
import assert from 'node:assert/strict';
import fs, { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { basename, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { smallDisk } from '../../test/helpers/small-disk.ts';
import { UserError } from '../base/errors.ts';
import { packImage, readIndex, writeRecords } from '../data/recordio.ts';
import { writeNpy } from '../features/index.ts';
import { writeSafetensors } from '../torch/index.ts';
import { DiskFullError, formatBytes, requireDiskSpace, writeAtomic } from './durable-write.ts';
import { writeJson } from './json-file.ts';
import { temporaryPath } from './process-identity.ts';
import { writeArtifact } from './write-artifact.ts';

/** Lets the system take at most `most` bytes at a time, as it may. */
function shortWrites(t: TestContext, most: number): void {
  const { writeSync } = fs;
  fs.writeSync = ((fd: number, bytes: Uint8Array, offset: number, length: number, position: number | null) =>
    writeSync(fd, bytes, offset, Math.min(length, most), position)) as typeof fs.writeSync;
  syncBuiltinESMExports();
  t.after(() => {
    fs.writeSync = writeSync;
    syncBuiltinESMExports();
  });
}

const files = {
  'a.json': (path: string) => writeAtomic(path, 'x'.repeat(5000)),
  'a.npy': (path: string) =>
    writeNpy(
      path,
      '<f4',
      Float32Array.from({ length: 999 }, (_, i) => i),
      [3],
    ),
  'a.rec': (path: string) =>
    writeRecords(path, (writer) => {
      for (let key = 0; key < 50; key++)
        writer.write(key, packImage({ labels: [key], id: key, image: new Uint8Array(key) }));
    }),
};

test('a system that takes seven bytes at a time changes no byte of any file', async (t) => {
  const folder = testFolder(t);
  for (const [name, write] of Object.entries(files)) await write(join(folder, `whole-${name}`));
  shortWrites(t, 7);
  for (const [name, write] of Object.entries(files)) await write(join(folder, `short-${name}`));
  for (const name of [...Object.keys(files), 'a.idx'])
    assert.ok(readFileSync(join(folder, `short-${name}`)).equals(readFileSync(join(folder, `whole-${name}`))), name);
  assert.equal(readIndex(join(folder, 'short-a.idx')).keys.length, 50);
});

test('a full disk is said in plain words, and leaves nothing', async (t) => {
  const disk = smallDisk(t, 64 * 1024);
  if (!disk) return;
  const bytes = new Uint8Array(200_000);
  const writers = {
    json: (path: string) => writeAtomic(path, bytes),
    rec: (path: string) =>
      writeRecords(path, (writer) => writer.write(0, packImage({ labels: [0], id: 0, image: bytes }))),
    artefact: (path: string) =>
      writeArtifact(path, { kind: 'x' }, (folder) => {
        writeNpy(join(folder, 'a.npy'), '|u1', bytes);
        return { kind: 'x' };
      }),
    json_of_artefact: (path: string) =>
      writeArtifact(path, { kind: 'x' }, (folder) => {
        writeJson(join(folder, 'a.json'), 'x'.repeat(200_000));
        return { kind: 'x' };
      }),
    model_of_artefact: (path: string) =>
      writeArtifact(path, { kind: 'x' }, (folder) => {
        writeSafetensors(join(folder, 'a.safetensors'), [], { text: 'x'.repeat(200_000) });
        return { kind: 'x' };
      }),
    safetensors: (path: string) => writeSafetensors(path, [], { text: 'x'.repeat(200_000) }),
  };
  for (const [what, write] of Object.entries(writers)) {
    await assert.rejects(
      async () => write(join(disk, what)),
      (error) => {
        assert.ok(error instanceof DiskFullError && error instanceof UserError, `${what}: ${error}`);
        assert.match(error.message, /: the disk is full \(.*, .* left\)\n {2}hint: free some space there/);
        if (what !== 'safetensors') assert.ok(error.message.startsWith(`${join(disk, what)}: `), error.message);
        return true;
      },
    );
    assert.deepEqual(readdirSync(disk), [], what);
  }
});

test('what will not fit is told before it is made', (t) => {
  const folder = testFolder(t);
  assert.throws(
    () => requireDiskSpace(join(folder, 'a', 'b'), 4.1e18),
    new RegExp(`b: need 4100000.0 TB, have [\\d.]+ [MGT]B in ${folder}\n`),
  );
  requireDiskSpace(join(folder, 'a'), 1);
  writeFileSync(join(folder, 'a'), 'x');
  assert.deepEqual([999, 1000, 4.1e9, 2e12].map(formatBytes), ['999 bytes', '1.0 kB', '4.1 GB', '2.0 TB']);
});

test('temporary files of writers that have ended are removed by the next one; those of living and unknown ones stay', (t) => {
  const folder = testFolder(t);
  const path = join(folder, 'a.json');
  const mine = basename(temporaryPath(path));
  const [, where, pid, start] = /\.([0-9a-f]{8})-(\d+)-(\d+)-/.exec(mine)!;
  const called = (by: string, id: number, since: string): string => `a.json.${by}-${id}-${since}-00000000.part`;
  const alive = called(where!, Number(pid), start!);
  const other = [
    called('00000000', 2 ** 30, start!),
    'a.json.part',
    `b.${mine}`,
    called(where!, 2 ** 30, '1').slice(2),
  ];
  // a process that has ended, and one whose id a later process has
  const dead = [called(where!, 2 ** 30, '1'), called(where!, Number(pid), `${Number(start) + 1}`)];
  for (const name of [alive, ...other, ...dead]) writeFileSync(join(folder, name), 'half');
  mkdirSync(join(folder, called(where!, 2 ** 30, '2'), 'in/it'), { recursive: true });
  writeAtomic(path, 'whole');
  assert.deepEqual(readdirSync(folder).sort(), [alive, 'a.json', ...other].sort());
});
