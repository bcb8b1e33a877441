// node dist/test/helpers/cli-worker.js, command lines as JSON on standard input: runs them one after the other in this process and
// folder, and prints what each said and changed as JSON.
import { readFileSync } from 'node:fs';
import { runCommandLine } from '../../src/cli/command-line.ts';
import { snapshot } from './bad-input.ts';
import type { Outcome } from './cli.ts';

const lines = JSON.parse(readFileSync(0, 'utf8')) as string[][];
const write = process.stdout.write.bind(process.stdout);
let said = { out: '', err: '' };
process.stdout.write = ((text: string) => {
  said.out += text;
  return true;
}) as typeof process.stdout.write;
process.stderr.write = ((text: string) => {
  said.err += text;
  return true;
}) as typeof process.stderr.write;

const outcomes: (Outcome & { readonly changed: readonly string[] })[] = [];
for (const words of lines) {
  said = { out: '', err: '' };
  const before = snapshot('.');
  const code = await runCommandLine(words);
  const after = snapshot('.');
  const paths = [...new Set([...before.keys(), ...after.keys()])];
  outcomes.push({ code, ...said, changed: paths.filter((path) => before.get(path) !== after.get(path)) });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(signal);
}
write(JSON.stringify(outcomes), () => process.exit(0));
