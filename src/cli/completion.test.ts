import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { packageRoot } from '../base/version.ts';
import { completeLine } from './complete.ts';
import { commandLine } from './program.ts';

/** A folder with artefacts whose names shells have to quote, and the folder that each stands in. */
function writeNames(folder: string): void {
  const artifact = (path: string, kind: string): void => {
    mkdirSync(join(folder, path), { recursive: true });
    writeFileSync(join(folder, path, 'manifest.json'), JSON.stringify({ kind }));
  };
  for (const name of ['with blank', `it's "so"`, 'pay$1', 'a:b=c', 'größe']) artifact(`runs/${name}`, 'run');
  artifact('runs/judged', 'evaluation');
  artifact('runs/tuned', 'tuning');
  artifact('runs/tuned/best', 'run');
  artifact('runs/two\nlines', 'run');
  artifact('features/old', 'features');
  mkdirSync(join(folder, 'runs/experiment'));
  symlinkSync('round', join(folder, 'runs/round'));
  mkdirSync(join(folder, 'data'));
  for (const name of ['data/k12.rec', 'data/k12.idx', 'weights of old.pt', 'own.yaml'])
    writeFileSync(join(folder, name), '');
  writeFileSync(join(folder, 'mine.yaml'), 'title: x\nstages:\n  old-one: { do: train, on: data, recipe: {} }\n  judge: { do: evaluate }\n'); // biome-ignore format: a file
}

/** Runs `body` in a folder. */
async function inFolder(folder: string, body: () => Promise<void>): Promise<void> {
  const home = process.cwd();
  process.chdir(folder);
  try {
    await body();
  } finally {
    process.chdir(home);
  }
}

test('commands, options, choices, artefacts, recipes, experiments and settings are completed', async (t) => {
  const folder = testFolder(t);
  writeNames(folder);
  const wanted: Readonly<Record<string, string | readonly string[]>> = {
    ex: ['export', 'extract'],
    'data sp': ['split'],
    'help adapt ': ['apply', 'fit'],
    'evaluate i': ['ijb'],
    'evaluate --impo': ['--impostors'],
    'train --sa': ['--save-every'],
    'train --device ': ['cpu', 'cuda'],
    'train --device=cu': ['--device=cuda'],
    'evaluate ijb --protocol 11,': ['11,11', '11,1N'],
    'launch --nproc 2 -- ': ['evaluate', 'extract', 'train'],
    'launch --nproc 2 -- train --device c': ['cpu', 'cuda'],
    'schema rec': ['recipe'],
    'OMP_NUM_THREADS=1 mixbct schema rec': ['recipe'],
    'extract runs/': ['runs/a:b=c', 'runs/experiment/', 'runs/größe', `runs/it's "so"`, 'runs/pay$1', 'runs/tuned/', 'runs/with blank'], // biome-ignore format: a list
    'report runs/': ['runs/experiment/', 'runs/judged', 'runs/tuned/'],
    'report --html x.html runs/judged runs/j': ['runs/judged'],
    'evaluate --old features/': ['features/old'],
    'evaluate --new mix=features/': ['mix=features/old'],
    'evaluate ijb --model runs/wi': ['runs/with blank'],
    'evaluate ijb --model a=runs/wi': ['a=runs/with blank'],
    'extract a --data data/': ['data/k12'],
    'train recipes/glyphs/ol': ['recipes/glyphs/old.yaml'],
    'train ow': ['own.yaml'],
    'train f128_r18': ['f128_r18_softmax_class30', 'f128_r18_softmax_data30'],
    'run experiments/roll': ['experiments/roll-out.yaml'],
    'recipes f128_r50': ['f128_r50_arc_data100'],
    'train --set optimizer.m': ['optimizer.momentum='],
    'train x --set opt': ['optimizer.'],
    'train --set precision=b': ['precision=bf16'],
    'train --set validation.keepBest=': ['validation.keepBest=false', 'validation.keepBest=true'],
    'run mine.yaml --set s': ['seed=', 'stages.'],
    'run mine.yaml --set stages.': ['stages.judge.', 'stages.old-one.'],
    'run mine.yaml --set stages.old-one.recipe.ep': ['stages.old-one.recipe.epochs='],
    'run mine.yaml --set stages.judge.rec': [],
    'run mine.yaml --only j': ['judge'],
    'run none.yaml --only j': [],
    'train --epochs=': [],
    'extract a --seed ': [],
    'nonsense x': [],
    'import-model we': 'files',
    'extract a --data none': 'files',
  };
  await inFolder(folder, async () => {
    for (const [line, found] of Object.entries(wanted)) {
      const made = await completeLine(line.includes('mixbct ') ? line : `mixbct ${line}`, commandLine);
      const expected = found === 'files' ? { kind: 'files', found: [] } : { kind: 'words', found };
      assert.deepEqual(made, expected, line);
    }
  });
});

/** What is typed before a tabulator, and the words that the shell must then run. */
const TYPED: Readonly<Record<string, readonly string[]>> = {
  'mixbct extr': ['extract'],
  'mixbct info runs/wi': ['info', 'runs/with blank'],
  'mixbct info runs/with\\ b': ['info', 'runs/with blank'],
  'mixbct info "runs/wi': ['info', 'runs/with blank'],
  "mixbct info 'runs/wi": ['info', 'runs/with blank'],
  'mixbct info runs/it': ['info', `runs/it's "so"`],
  'mixbct info "runs/pa': ['info', 'runs/pay$1'],
  'mixbct info runs/gr': ['info', 'runs/größe'],
  'mixbct info runs/a': ['info', 'runs/a:b=c'],
  'mixbct info runs/a:b=': ['info', 'runs/a:b=c'],
  'mixbct evaluate --new x=feat': ['evaluate', '--new', 'x=features/'],
  'mixbct train --set optimizer.mom': ['train', '--set', 'optimizer.momentum='],
  'mixbct import-model we': ['import-model', 'weights of old.pt'],
};
/** In the way of the program: has answers to all lines but the first, so that no process is started for each. */
const ANSWERING = `#!/bin/sh
answer=$(printf %s "$3" | sha256sum | cut -c1-64)
if [ -f "$answer" ]; then cat "$answer"; else exec PROGRAM "$@"; fi
`;
const BASH_BREAKS = ' \t\n"\'><=;|&(:';

/** In place of the program, where it is run: writes its words. */
const RECORD = `mixbct() { for word in "$@"; do printf '<%s>' "$word"; done >> ran; echo >> ran; }`;
/** Keys that are pressed in an interactive shell. */
const keys = (...prepare: readonly string[]): string =>
  [...prepare, RECORD, ...Object.keys(TYPED).map((line) => `${line}\t`), 'exit', ''].join('\r');
const inTerminal = (shell: string, input: string) => ({ words: ['script', '-qec', shell, '/dev/null'], input });

/** How each shell is made to complete; fish says what it would insert, the others are typed into. */
const SHELLS = {
  bash: inTerminal('bash --norc --noprofile -i', keys('source ./script')),
  zsh: inTerminal('zsh -f -i', keys('autoload -U compinit', 'compinit -u -D', 'source ./script')),
  fish: {
    words: [
      'fish',
      '--no-config',
      '-c',
      'source ./script; for line in $argv; complete -C $line; end',
      ...Object.keys(TYPED),
    ],
    input: '',
  },
} as const;

for (const [shell, { words, input }] of Object.entries(SHELLS))
  test(`a real ${shell} completes by the script that mixbct prints for it`, async (t) => {
    const [first = ''] = words;
    const missing = [shell, first].find((name) => spawnSync(name, ['--version']).error);
    if (missing !== undefined) return t.skip(`no ${missing} here`);
    const folder = testFolder(t);
    writeNames(folder);
    const main = join(packageRoot, 'dist/src/cli/main.js');
    writeFileSync(join(folder, 'script'), spawnSync(process.execPath, [main, 'completion', shell]).stdout);
    writeFileSync(join(folder, 'mixbct'), ANSWERING.replace('PROGRAM', `"${process.execPath}" "${main}"`), {
      mode: 0o755,
    });
    await inFolder(folder, async () => {
      for (const line of Object.keys(TYPED).slice(1)) {
        const { kind, found } = await completeLine(line, commandLine, shell === 'bash' ? BASH_BREAKS : undefined);
        writeFileSync(createHash('sha256').update(line).digest('hex'), [kind, ...found, ''].join('\n'));
      }
    });
    const env = { HOME: folder, PATH: `${folder}:${process.env['PATH']}`, LC_ALL: 'C.UTF-8', TERM: 'xterm' };
    const { stdout, stderr } = spawnSync(first, words.slice(1), { cwd: folder, encoding: 'utf8', input, env });
    const ran = input === '' ? stdout.trimEnd() : readFileSync(join(folder, 'ran'), 'utf8').trimEnd();
    const told = (words: readonly string[]) =>
      input === '' ? words.at(-1)! : words.map((word) => `<${word}>`).join('');
    assert.deepEqual(ran.split('\n'), Object.values(TYPED).map(told), `${stdout}${stderr}`);
  });
