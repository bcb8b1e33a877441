import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { idleCommands } from '../../test/helpers/idle-commands.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { packageRoot } from '../base/version.ts';

/** Runs command lines one after the other, and tells at its end which native libraries the process had after each. */
const TELL = `
import { readFileSync } from 'node:fs';
import { runCommandLine } from ${JSON.stringify(new URL('./command-line.js', import.meta.url).href)};
const loaded = [];
for (const words of JSON.parse(process.argv[1])) {
  await runCommandLine(words);
  loaded.push([...new Set(readFileSync('/proc/self/maps', 'utf8').match(/\\/\\S+/g))].join(' '));
}
process.stderr.write('\\nloaded: ' + JSON.stringify(loaded), () => process.exit());`;

/** The native libraries that are loaded after each of some command lines, in one process: what the first loads, all have. */
function loadedBy(cwd: string, lines: readonly string[]): string[] {
  const words = JSON.stringify(lines.map((line) => line.split(' ')));
  const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', TELL, words], { cwd, encoding: 'utf8' });
  const [, text] = /\nloaded: (.*)$/.exec(stderr) ?? [];
  assert.ok(text, stderr);
  const loaded: string[] = JSON.parse(text);
  assert.ok(loaded.length === lines.length && loaded.every((libraries) => libraries.includes('libc')), stderr);
  return loaded;
}

test('commands that compute nothing do not load libtorch, nor what draws and decodes pictures', async (t) => {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [2, 2] });
  const none = (cwd: string, libraries: RegExp, lines: readonly string[]): void => {
    for (const [i, loaded] of loadedBy(cwd, lines).entries()) assert.doesNotMatch(loaded, libraries, lines[i]);
  };
  none(folder, /torch|vips|sharp|image\.node/, [...idleCommands, 'nonsense']);
  none(folder, /torch|vips|sharp/, [
    'data info set',
    'info set',
    'log a',
    'watch a',
    'runs .',
    'compare a b',
    'report a',
    'evaluate --old a --new b=a --out c',
  ]);
  const experiment = join(packageRoot, 'test/fixtures/0.3.0/experiment');
  none(experiment, /torch|vips|sharp/, ['', 'new', 'new-eval', 'credible', 'judge'].map((name) => `info ./${name}`)); // biome-ignore format: short
  assert.match(loadedBy(folder, ['--version', 'doctor'])[1]!, /torch\.node/);
});

test('an installation that was not built says what to run, and doctor what is missing', async (t) => {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [2, 2] });
  const home = join(folder, 'installed');
  cpSync(join(packageRoot, 'dist/src'), join(home, 'dist/src'), { recursive: true });
  cpSync(join(packageRoot, 'package.json'), join(home, 'package.json'));
  cpSync(join(packageRoot, 'scripts/setup'), join(home, 'scripts/setup'), { recursive: true });
  for (const name of ['node_modules', 'recipes', 'experiments']) symlinkSync(join(packageRoot, name), join(home, name));
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [join(home, 'dist/src/cli/main.js'), ...args], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1', MIXBCT_HOME: join(folder, 'home') },
    });
  const doctor = run('doctor', '--json');
  assert.equal(doctor.status, 2, doctor.stderr);
  assert.match(
    JSON.parse(doctor.stdout).libtorch,
    /^missing: .*torch\.node: the torch addon is not built.*build it: npx mixbct setup/,
  );
  assert.match(JSON.parse(doctor.stdout)['JPEG decoder'], /^missing: .*image addon is not built/);
  const recipe = join(packageRoot, 'recipes/glyphs/old.yaml');
  for (const args of [
    ['train', recipe, '--data', 'set', '--out', 'run'],
    ['import-model', join(packageRoot, 'test/golden/state_dicts/r18.pt'), '--network', 'r18', '--out', 'run'],
  ]) {
    const { status, stderr } = run(...args);
    assert.match(
      stderr,
      /^error: .*the torch addon is not built\n {2}hint: build it: npx mixbct setup/,
      args.join(' '),
    );
    assert.equal(status, 2);
  }
  assert.equal(run('--version').status, 0);
  assert.equal(run('data', 'info', 'set').status, 0, 'a set of PGM pictures needs no addon');
  assert.equal(mixbct(folder, 'data', 'info', 'run').code, 2, 'nothing was left');
});

test('recipes and experiments of the package are found from any folder, and a file of one’s own comes first', (t) => {
  const folder = testFolder(t);
  const refused = (message: RegExp, ...args: string[]): void => {
    const { code, err } = mixbct(folder, ...args);
    assert.match(err, message, args.join(' '));
    assert.equal(code, 2);
  };
  refused(/nothing: no such stage/, 'run', 'experiments/quickstart.yaml', '--out', 'out', '--only', 'nothing');
  refused(/none: no such dataset/, 'train', 'recipes/glyphs/old.yaml', '--data', 'none', '--out', 'out');
  refused(/package\.json: no such file/, 'train', 'package.json', '--data', 'none', '--out', 'out');
  mkdirSync(join(folder, 'recipes/glyphs'), { recursive: true });
  writeFileSync(join(folder, 'recipes/glyphs/old.yaml'), 'epoch: 3\n');
  refused(/^error: recipes\/glyphs\/old\.yaml: .*problem[\s\S]*epoch: no such key/, 'train', 'recipes/glyphs/old.yaml', '--data', 'none', '--out', 'out'); // biome-ignore format: one line each
});
