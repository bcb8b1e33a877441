// One process at a time writes an output, whatever the command.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { mixbct } from '../../test/helpers/cli.ts';
import { holderOf } from '../../test/helpers/locks.ts';
import { tinySet, trained } from '../../test/helpers/runs.ts';

const main = resolve(import.meta.dirname, 'main.js');

/** What a process says on standard error, and its exit code. */
async function ended(cwd: string, args: readonly string[]): Promise<{ readonly code: number; readonly err: string }> {
  const env = { ...process.env, OMP_NUM_THREADS: '1', NO_COLOR: '1' };
  const child = spawn(process.execPath, [main, ...args], { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] });
  let err = '';
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  const [code] = await once(child, 'close');
  return { code, err };
}

test('of three extractions to one output at once, one makes all of it and the others are refused', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  await trained(dataset, join(folder, 'run'), { epochs: 1 });
  const extract = (out: string) => ['extract', 'run', '--data', prefix, '--out', out, '--threads', '1'];
  assert.equal(mixbct(folder, ...extract('one')).code, 0);
  const all = await Promise.all([1, 2, 3].map(() => ended(folder, extract('out'))));
  assert.deepEqual(all.map(({ code }) => code).sort(), [0, 2, 2]);
  for (const { err } of all.filter(({ code }) => code === 2))
    assert.match(err, /out: process \d+ is writing it since .*\(mixbct extract run .*\)|out exists already/);
  const files = readdirSync(join(folder, 'one'));
  assert.deepEqual(readdirSync(join(folder, 'out')), files);
  for (const file of files)
    assert.ok(readFileSync(join(folder, 'out', file)).equals(readFileSync(join(folder, 'one', file))), file);
  assert.ok(!readdirSync(folder).some((name) => name.startsWith('.')), 'nothing is left beside it');
});

test('a command that writes names the process that writes its output already, and leaves that alone', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  await trained(dataset, join(folder, 'run'), { epochs: 1 });
  assert.equal(mixbct(folder, 'extract', 'run', '--data', prefix, '--out', 'features', '--threads', '1').code, 0);
  const [holder] = await holderOf(t, ...['out', 'set_eval', 'set_sample_2'].map((name) => join(folder, name)));
  const before = readdirSync(folder).sort();
  const inOut = ['--out', 'out'];
  for (const args of [
    ['extract', 'run', '--data', prefix, ...inOut],
    ['train', 'run/recipe.json', '--data', prefix, ...inOut],
    ['denoise', 'features', ...inOut],
    ['evaluate', '--old', 'features', '--new', 'new=features', ...inOut],
    ['data', 'import', prefix, ...inOut],
    ['data', 'split', prefix, '--hold-out', '2'],
    ['data', 'sample', prefix, '--per-class', '2'],
  ]) {
    const { code, err } = mixbct(folder, ...args);
    assert.equal(code, 2, `${args.join(' ')}: ${err}`);
    assert.match(err, new RegExp(`process ${holder.pid} is writing it since`), args.join(' '));
    assert.doesNotMatch(err, /\n +at /);
  }
  assert.deepEqual(readdirSync(folder).sort(), before);
});
