import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type BadOutcome, complaint, runBadInput, writeSandbox } from '../../test/helpers/bad-input-run.ts';
import { testFolder } from '../../test/helpers/folder.ts';

/** scripts/bad-input.ts runs tens of thousands of the same kind. */
const CASES = 400;

test('four hundred mistakes in command lines and files end in words, with exit code 2, and change nothing', async (t) => {
  const sandbox = join(testFolder(t), 'sandbox');
  await writeSandbox(sandbox);
  const outcomes: BadOutcome[] = [];
  await runBadInput(sandbox, {
    seed: 'tests',
    from: 0,
    to: CASES,
    onOutcome: (outcome) => outcomes.push(outcome),
  });
  assert.equal(outcomes.length, CASES);
  const wrong = outcomes.flatMap((outcome) => {
    const problem = complaint(outcome);
    return problem ? [`case ${outcome.i}, ${outcome.what}: ${outcome.words.join(' ').slice(0, 200)}: ${problem}`] : [];
  });
  assert.deepEqual(wrong, []);
  assert.deepEqual(
    readdirSync('/dev').filter((name) => name.startsWith('null')),
    ['null'],
    'nothing is made beside a device',
  );
  const refused = outcomes.filter(({ code }) => code === 2).length;
  assert.ok(refused > CASES / 2 && refused < CASES, `${refused} refused`);
});

test('a stack, another exit code, a file that is left and one that is changed are all found', () => {
  const fine = { i: 0, words: [], what: '', code: 2, text: 'error: no\n', changed: [], left: [], ms: 1 };
  assert.equal(complaint(fine), null);
  for (const bad of [
    { text: 'internal error: TypeError: x\n    at f (file:///a.js:1:1)\n' },
    { text: 'error: x\n    at Object.f (node:fs:1:1)\n' },
    { code: 1 },
    { code: null, text: 'died' },
    { changed: ['/a'] },
    { left: ['/a'] },
    { text: '' },
  ])
    assert.ok(complaint({ ...fine, ...bad }), JSON.stringify(bad));
});
