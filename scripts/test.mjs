// Runs every test and closes with "N passed, N failed".
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './setup/shell.mjs';

const wanted = process.argv.slice(2);
const files = ['dist/src', 'dist/test']
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
  )
  .filter((file) => file.endsWith('.test.js') && (wanted.length === 0 || wanted.some((part) => file.includes(part))))
  .sort();
// One file at a time: the tests of libtorch use every core themselves.
const args = ['--test', '--test-concurrency=1', '--test-reporter=spec', ...files];
const { status, stdout } = spawnSync(process.execPath, args, {
  cwd: root,
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'inherit'],
  maxBuffer: 1 << 28,
});
process.stdout.write(stdout);
const count = (name) => Number(stdout.match(new RegExp(`^ℹ ${name} (\\d+)$`, 'm'))?.[1] ?? 0);
process.stdout.write(`${count('pass')} passed, ${count('fail') + count('cancelled')} failed\n`);
process.exit(status ?? 1);
