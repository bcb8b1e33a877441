// node dist/scripts/bad-input.js [--cases 20000] [--seed 1] [--from 0]: command lines with a mistake in them, over every command and
// option: damaged artefacts, odd paths, documents in other encodings, absurd numbers. Each must end with exit code 2, or 0 where
// the input is good after all, without a stack and without having left or changed a file.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { complaint, runBadInput, writeSandbox } from '../test/helpers/bad-input-run.ts';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
  },
});
const folder = mkdtempSync(join(tmpdir(), 'mixbct-bad-input-'));
const sandbox = join(folder, 'sandbox');
const codes = new Map<string, number>();
let [bad, slowest] = [0, { ms: 0, line: '' }];
try {
  await writeSandbox(sandbox);
  await runBadInput(sandbox, {
    seed: values.seed,
    from: Number(values.from),
    to: Number(values.from) + Number(values.cases),
    onOutcome: (outcome) => {
      const { i, words, what, code, ms } = outcome;
      codes.set(String(code), (codes.get(String(code)) ?? 0) + 1);
      const line = words.map((word) => JSON.stringify(word.slice(0, 60))).join(' ');
      if (ms > slowest.ms) slowest = { ms, line };
      const problem = complaint(outcome);
      if (!problem) return;
      bad++;
      process.stdout.write(`case ${i} (${what}): mixbct ${line}\n  ${problem.replaceAll('\n', '\n  ')}\n`);
    },
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.stdout.write(
  `${[...codes].map(([code, count]) => `exit code ${code}: ${count}`).join(', ')}; ${bad} wrong; slowest ${slowest.ms} ms: ${slowest.line}\n`,
);
process.exit(bad > 0 ? 1 : 0);
