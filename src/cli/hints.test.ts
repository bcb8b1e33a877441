// biome-ignore-all lint/suspicious/noTemplateCurlyInString: code is under test
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sourceFiles, wrongOptions } from '../../test/helpers/hints.ts';
import { literalsOf } from '../../test/helpers/literals.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import { program } from './program.ts';

test('every option that a message names exists for each command that can show the message', async () => {
  const root = await program();
  assert.deepEqual(wrongOptions(root, sourceFiles()), []);
});

test('a message that names an option too many is found, wherever it stands', async () => {
  const root = await program();
  const sources = sourceFiles();
  const before = wrongOptions(root, sources);
  const planted: Readonly<Record<string, readonly [file: string, code: string, complaint: RegExp]>> = {
    'no such option': ['src/data/split.ts', "optionHint('pass --forse to replace it')", /--forse .* any command/],
    'one that only some have': ['src/data/split.ts', "throw new UserError('x', { hint: 'use --resume' })", /--resume/],
    'in a template': ['src/eval/roc.ts', 'const a = `${b} or ${`use --resume`}`;', /--resume/],
    'of another command': [
      'src/runs/load-model.ts',
      "'go on: mixbct extract runs/a --resumed --out x'",
      /--resumed .* extract/,
    ],
    'behind a launcher': [
      'src/cli/launch.ts',
      "'mixbct launch --nproc 2 -- extract a --nproc 2'",
      /--nproc .* extract/,
    ],
    'in its own file': ['src/cli/extract.ts', "throw new UserError('pass --skip-non-finite 3')", /--skip-non-finite/],
  };
  for (const [what, [file, code, complaint]] of Object.entries(planted)) {
    const changed = new Map([...sources, [file, `${sources.get(file)}\n${code}\n`]]);
    const wrong = wrongOptions(root, changed).filter((one) => !before.includes(one));
    assert.equal(wrong.length, 1, `${what}: ${wrong.join('\n')}`);
    assert.match(wrong[0]!, complaint, what);
  }
});

test('the literals of source are found, comments and regular expressions are not', () => {
  const source =
    "a('--x'); // '--no'\nb = /'--no/.test(c) ? `--y ${d('--z')} --w` : \"it's \\n\"; /* '--no' */ e(--f, 1 / 2, '/');";
  assert.deepEqual(
    literalsOf(source).map(({ text }) => text),
    ['--x', '--z', '--y ${} --w', "it's \n", '/'],
  );
});

test('a command shows the hints whose options it has', () => {
  const error = new UserError('a exists', {
    hint: ['move it', optionHint('pass --force'), optionHint('pass --resume, then --force')],
  });
  assert.equal(error.message, 'a exists\n  hint: move it, or pass --force, or pass --resume, then --force');
  assert.equal(
    error.messageFor((option) => option === '--force'),
    'a exists\n  hint: move it, or pass --force',
  );
  const only = new FileError('b', 'is bad', optionHint('pass --force'));
  assert.equal(
    only.messageFor(() => false),
    'b: is bad',
  );
});
