import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeImages } from '../../test/helpers/image-tree.ts';
import { importDataset } from './import-dataset.ts';
import { openDataset } from './open-dataset.ts';

test('where a file is expected, a pipe or a device ends the command at once', async (t) => {
  const folder = testFolder(t);
  writeImages(join(folder, 'in'), ['a/1.pgm', 'a/2.pgm', 'b/1.pgm']);
  using dataset = openDataset(join(folder, 'in'));
  await importDataset(dataset, join(folder, 'set'));
  const kinds = ['rec', 'idx', 'json', 'ids.jsonl'];
  const withPipe = (kind: string, make: (path: string) => void): string => {
    for (const other of kinds) copyFileSync(join(folder, `set.${other}`), join(folder, `${kind}.${other}`));
    rmSync(join(folder, `${kind}.${kind}`));
    make(join(folder, `${kind}.${kind}`));
    return kind;
  };
  const pipe = (path: string): void => void execFileSync('mkfifo', [path]);
  const tries: [readonly string[], RegExp][] = [
    [['data', 'info', withPipe('rec', pipe)], /rec\.rec: is a named pipe, socket or device, wanted a file/],
    [['data', 'info', withPipe('idx', pipe)], /idx\.idx: is a named pipe/],
    [['data', 'info', withPipe('json', pipe)], /json\.json: .*is a named pipe/],
    [['data', 'import', withPipe('ids.jsonl', (path) => symlinkSync('/dev/zero', path)), '--out', 'out'], /ids\.jsonl\.ids\.jsonl: is a named pipe/], // biome-ignore format: a table
    [['data', 'info', 'pipe'], /pipe: no such dataset/],
    [['import-model', 'pipe', '--network', 'r18', '--out', 'out'], /pipe: .*no regular file/],
    [['import-model', 'pipe.safetensors', '--network', 'r18', '--out', 'out'], /pipe\.safetensors: .*no regular file/],
    [['report', 'run'], /evaluation\.json: .*is a named pipe/],
  ];
  mkdirSync(join(folder, 'run'));
  for (const path of ['pipe', 'pipe.safetensors', 'run/evaluation.json']) pipe(join(folder, path));
  writeFileSync(join(folder, 'run', 'manifest.json'), '{"kind":"evaluation"}');
  for (const [args, wanted] of tries) {
    const { code, err } = mixbct(folder, ...args);
    assert.equal(code, 2, `${args.join(' ')}: ${err}`);
    assert.match(err, wanted, args.join(' '));
  }
});
