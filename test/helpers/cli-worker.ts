// The process of `mixbct` in tests: reads command lines as JSON from descriptor 3, runs them one after the other, and writes
// what each said to descriptor 4.
import { writeFileSync } from 'node:fs';
import { runCommandLine } from '../../src/cli/command-line.ts';
import { LONGEST_MS, type Outcome, readLine } from './cli.ts';

const [REQUESTS, ANSWERS] = [3, 4];

type Request = {
  readonly cwd: string;
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string>>;
};

let said = { out: '', err: '' };
const keep = (name: 'out' | 'err') =>
  ((text: string) => {
    said[name] += text;
    return true;
  }) as typeof process.stdout.write;
const writeError = process.stderr.write.bind(process.stderr);
process.stdout.write = keep('out');
process.stderr.write = keep('err');

const end = (problem: string): never => {
  writeError(`${problem}\n${said.err}`);
  process.exit(1);
};
process.on('uncaughtException', (error) => end(String(error.stack)));

for (let line = readLine(REQUESTS); line !== ''; line = readLine(REQUESTS)) {
  const { cwd, words, env }: Request = JSON.parse(line);
  for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name];
  Object.assign(process.env, env);
  process.chdir(cwd);
  process.argv = [...process.argv.slice(0, 2), ...words];
  said = { out: '', err: '' };
  const late = setTimeout(() => end(`mixbct ${words.join(' ')} has not ended`), LONGEST_MS);
  const code = await runCommandLine(words);
  clearTimeout(late);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(signal);
  writeFileSync(ANSWERS, `${JSON.stringify({ code, ...said } satisfies Outcome)}\n`);
}
process.exit(0);
