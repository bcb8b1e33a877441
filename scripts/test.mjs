// Runs the test files whose names contain one of the words given, or all: a line as each file ends, and what runs now meanwhile;
// then the slowest, what failed, and "N passed, N failed" alone on the last line.
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { root } from './setup/shell.mjs';

/** Files at a time, each with one thread of libtorch: one more than cores, for a third of the time a file waits for its disk or its processes. */
const AT_ONCE = Math.min(3, availableParallelism() + 1);
/** Slowest files that are named. */
const SLOWEST = 8;
/**
 * One thread each, unless a test sets more; and threads that wait sleep: OpenMP's spin, and two that wait for each other beside
 * other work are twenty times slower.
 */
const ONE_THREAD = { OMP_NUM_THREADS: '1', OMP_WAIT_POLICY: 'passive', GOMP_SPINCOUNT: '0', KMP_BLOCKTIME: '0' };

/** Files that take longest begin, so that none is waited for at the end. */
const FIRST = [
  'stages/report-page',
  'cli/launch',
  'train/collectives',
  'runs/import-model',
  'watch/watch-page',
  'train/',
  'cli/',
];
const rank = (file) => (FIRST.findIndex((part) => file.includes(part)) + FIRST.length + 1) % (FIRST.length + 1);

const wanted = process.argv.slice(2);
const files = ['dist/src', 'dist/test']
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
  )
  .filter((file) => file.endsWith('.test.js') && (wanted.length === 0 || wanted.some((part) => file.includes(part))))
  .sort()
  .sort((a, b) => rank(a) - rank(b));

/** How often it says what runs: on a terminal the line is drawn over, elsewhere it is a line of its own. */
const [DRAWN_MS, TOLD_MS] = [1000, 30_000];

const started = performance.now();
const results = [];
const queue = [...files];
/** When each file that runs was begun. */
const running = new Map();
const { isTTY, columns = 120 } = process.stdout;
const ERASE = isTTY ? '\r\u001b[2K' : '';
const telling = setInterval(tell, isTTY ? DRAWN_MS : TOLD_MS);
await Promise.all(Array.from({ length: AT_ONCE }, work));
clearInterval(telling);
process.stdout.write(ERASE);

/** Says what runs and for how long. */
function tell() {
  const now = performance.now();
  const seconds = (from) => `${((now - from) / 1000).toFixed(0)} s`;
  const names = [...running].map(([file, from]) => `${file.replace(/^dist\//, '')} ${seconds(from)}`);
  const line = `… [${results.length}/${files.length}] after ${seconds(started)}: ${names.join(', ')}`;
  process.stdout.write(isTTY ? `${ERASE}${line.slice(0, columns - 1)}` : `${line}\n`);
}

async function work() {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    running.set(file, performance.now());
    const result = await run(file);
    running.delete(file);
    results.push(result);
    const { passed, failed, seconds } = result;
    const counts = `${passed} passed${failed > 0 ? `, ${failed} failed` : ''}`;
    const place = `[${results.length}/${files.length}]`;
    process.stdout.write(`${ERASE}${failed > 0 ? '✖' : '✔'} ${place} ${file}: ${counts}, ${seconds.toFixed(1)} s\n`);
  }
}

/** Runs one file in a process of its own. A process that dies, or fails without a failed test, counts as one. */
function run(file) {
  const from = performance.now();
  const child = spawn(process.execPath, ['--test-reporter=spec', file], {
    cwd: root,
    env: { ...process.env, ...ONE_THREAD },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    err += text;
  });
  return new Promise((resolve) => {
    child.once('close', (code, signal) => {
      const count = (name) => Number(out.match(new RegExp(`^ℹ ${name} (\\d+)$`, 'm'))?.[1] ?? 0);
      const [passed, failing] = [count('pass'), count('fail') + count('cancelled')];
      const failed = code === 0 ? failing : Math.max(1, failing);
      const ended = failing === 0 && failed > 0 ? `the process ended with ${signal ?? `code ${code}`}\n` : '';
      resolve({ file, passed, failed, seconds: (performance.now() - from) / 1000, out, err: err + ended });
    });
  });
}

for (const { file, out, err } of results.filter(({ failed }) => failed > 0))
  process.stdout.write(`\n──── ${file}\n${out}${err}`);
const slowest = [...results].sort((a, b) => b.seconds - a.seconds).slice(0, SLOWEST);
if (files.length > SLOWEST)
  process.stdout.write(
    `\nslowest:\n${slowest.map(({ file, seconds }) => `  ${seconds.toFixed(1).padStart(6)} s  ${file}\n`).join('')}`,
  );
process.stdout.write(`${files.length} files in ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
const sum = (key) => results.reduce((total, result) => total + result[key], 0);
const [passed, failed] = [sum('passed'), sum('failed')];
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exit(failed > 0 || files.length === 0 ? 1 : 0);
