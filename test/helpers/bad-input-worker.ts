// node dist/test/helpers/bad-input-worker.js SANDBOX SEED FROM TO: runs the cases in this process, in a copy of the sandbox, one
// line of JSON before and after each on standard output.
import { rmSync, writeSync } from 'node:fs';
import { chdir } from 'node:process';
import { Rng } from '../../src/base/rng.ts';
import { runCommandLine } from '../../src/cli/command-line.ts';
import { program } from '../../src/cli/program.ts';
import { badCase, damageFile, restore, snapshot } from './bad-input.ts';

const [original, seed, from, to] = process.argv.slice(2) as [string, string, string, string];
const folder = `${original}-${process.pid}`;
const tell = (line: object): void => void writeSync(1, `${JSON.stringify(line)}\n`);

/** Changed files that are named: a line must fit a pipe. */
const MOST_NAMED = 20;

/** Where a command that takes long keeps what it has until it is run again. */
const RESUMABLE = /\/\.[^/]+\.part\/|\/\.stages\//;

let text = '';
const hear = (chunk: string | Uint8Array): boolean => {
  text += chunk.toString();
  return true;
};
process.stdout.write = hear as typeof process.stdout.write;
process.stderr.write = hear as typeof process.stderr.write;
process.on('exit', (code) => code !== 0 && writeSync(2, text)); // nobody else hears of it
for (const event of ['uncaughtException', 'unhandledRejection'])
  process.on(event, (error) => hear(`internal error: outside of the command: ${error?.stack}`));

const renew = (): void => {
  restore(folder, original);
  chdir(folder);
};
renew();
const whole = snapshot(folder);
const root = await program();
for (let i = Number(from); i < Number(to); i++) {
  const rng = new Rng(seed).split('bad input', i);
  let damaged = false;
  const bad = badCase(root, rng, (file) => {
    damaged = true;
    return damageFile(folder, file, rng);
  });
  const before = damaged ? snapshot(folder) : whole;
  tell({ i, ...bad });
  text = '';
  const startMs = performance.now();
  const code = await runCommandLine(bad.words);
  const after = snapshot(folder);
  const changed = [...before.keys()].filter((path) => before.get(path) !== after.get(path));
  // folders without a file hold nothing, and what can be gone on from is kept on purpose
  const left = [...after].filter(([path, what]) => !before.has(path) && what !== 'folder' && !RESUMABLE.test(path));
  tell({
    i,
    code,
    text: text.slice(0, 4000),
    changed: changed.slice(0, MOST_NAMED),
    left: left.slice(0, MOST_NAMED).map(([path]) => path),
    ms: Math.round(performance.now() - startMs),
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(signal);
  if (damaged || changed.length > 0 || after.size > before.size) renew();
}
chdir('/');
rmSync(folder, { recursive: true, force: true });
process.exit(0);
