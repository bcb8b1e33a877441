import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { buildFolder } from '../src/base/addon.ts';
import { Rng } from '../src/base/rng.ts';
import { packageRoot, version } from '../src/base/version.ts';
import { writeNpy } from '../src/features/index.ts';
import { libtorchOrigin } from '../src/torch/index.ts';
import { testFolder } from './helpers/folder.ts';
import { pattern } from './helpers/images.ts';

const SIDE = 32;
const CLASSES = 10;
const PER_CLASS = 6;
const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'));
/** `mixbct`, `mixbct/torch`, … */
const modules = Object.keys(manifest.exports)
  .filter((path) => !path.endsWith('.json'))
  .map((path) => path.replace('.', 'mixbct'));

test('the packed tarball, installed in an empty folder, has a command, types for every sub-path, and runs the examples', async (t) => {
  const folder = testFolder(t);
  assert.ok(!folder.startsWith(packageRoot) && folder.startsWith(tmpdir()));
  const project = join(folder, 'project');
  const home = join(folder, 'home');
  mkdirSync(project);
  const run = (program: string, args: readonly string[], { cwd = project, env = {} } = {}) => {
    const result = spawnSync(program, args, {
      cwd,
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1', MIXBCT_HOME: home, ...env },
    });
    return { code: result.status, out: result.stdout, err: result.stderr };
  };
  const done = (result: ReturnType<typeof run>): string => {
    assert.equal(result.code, 0, result.out + result.err);
    return result.out;
  };

  const [packed] = JSON.parse(
    done(run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], { cwd: packageRoot })),
  );
  const files: string[] = packed.files.map(({ path }: { path: string }) => path);
  for (const wanted of ['LICENSE', 'CHANGELOG.md', 'README.md', 'native/torch/binding.cc', 'scripts/setup/places.cjs'])
    assert.ok(files.includes(wanted), wanted);
  assert.deepEqual(
    files.filter((path) =>
      /\.test\.|^(test|bench|src|dist\/(test|bench|scripts|examples))\/|\.map$|\.part$|node_modules/.test(path),
    ),
    [],
  );

  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'other', private: true, type: 'module' }));
  const types = `@types/node@${manifest.devDependencies['@types/node']}`;
  const install = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'];
  done(run('npm', [...install, join(folder, packed.filename), types]));

  const mixbct = (...args: string[]) => run(join(project, 'node_modules/.bin/mixbct'), args);
  assert.equal(mixbct('--version').out, `${version}\n`);
  const before = mixbct('doctor');
  assert.equal(before.code, 2);
  assert.match(before.out, /torch addon is not built.*npx mixbct setup/);
  const nowhere = run(join(project, 'node_modules/.bin/mixbct'), ['setup'], { env: { LIBTORCH: '/nowhere' } });
  assert.match(nowhere.err, /LIBTORCH=\/nowhere holds no libtorch\n.*what to do: point it at/);
  assert.equal(nowhere.code, 2);

  // what this checkout has built is what set-up would build: it finds nothing to do
  cpSync(buildFolder, join(home, `addons-${version}-${process.platform}-${process.arch}`), { recursive: true });
  const { lib } = libtorchOrigin();
  const libtorch = lib.startsWith('/usr/lib') ? '/usr' : dirname(lib);
  const setup = run(join(project, 'node_modules/.bin/mixbct'), ['setup'], { env: { LIBTORCH: libtorch } });
  assert.equal(setup.code, 0, setup.err);
  assert.doesNotMatch(setup.err, /build the/);
  assert.match(setup.err, /ready: the addons are in/);
  assert.match(done(mixbct('doctor')), /^libtorch +[12]\./m);

  cpSync(join(packageRoot, 'examples'), join(project, 'examples'), { recursive: true });
  const imports = modules.map((path, i) => `import * as m${i} from '${path}';\nexport const n${i}: object = m${i};\n`);
  writeFileSync(join(project, 'imports.ts'), imports.join(''));
  const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8');
  const snippet = /## As a library[\s\S]*?```ts\n([\s\S]*?)```/.exec(readme)?.[1];
  assert.ok(snippet, 'the README has a program');
  writeFileSync(join(project, 'snippet.ts'), snippet);
  const compilerOptions = {
    ...{ target: 'ES2022', lib: ['ES2023', 'ESNext.Disposable'], module: 'NodeNext', types: ['node'] },
    ...{ strict: true, noUncheckedIndexedAccess: true, skipLibCheck: false },
  };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts', 'examples'] }));
  const tsc = join(packageRoot, 'node_modules/typescript/bin/tsc');
  done(run(process.execPath, [tsc, '-p', project]));

  done(run(process.execPath, ['imports.js']));
  const example = (name: string, ...args: string[]): string =>
    done(run(process.execPath, [join('examples', `${name}.js`), ...args]));
  await writePictures(join(project, 'pictures'));
  assert.match(example('train-own-method', 'pictures', 'out', '3'), /rank-1: old → old \S+, new → old /);
  assert.ok(existsSync(join(project, 'out/judged/report.html')));
  const found = example('embed-and-search', 'out/new', 'pictures', 'pictures/3/2.png');
  assert.match(found, /^1\.0000 pictures\/3\/2\.png\n/);
  assert.match(done(mixbct('info', 'out/new')), /pull/);

  writeVectors(project);
  assert.match(example('judge-npy', 'old.npy', 'new.npy', 'labels.npy', 'judged'), /rank-1: old → old /);
  assert.match(done(run(process.execPath, ['snippet.js', 'out/new', 'pictures/3/2.png'])), /64/);
  assert.deepEqual(readdirSync(join(home)), [`addons-${version}-${process.platform}-${process.arch}`]);
});

/** A folder of PNG files for each class. */
async function writePictures(folder: string): Promise<void> {
  const raw = { width: SIDE, height: SIDE, channels: 1 as const };
  for (let label = 0; label < CLASSES; label++) {
    mkdirSync(join(folder, String(label)), { recursive: true });
    for (let i = 0; i < PER_CLASS; i++)
      await sharp(pattern(label, i, SIDE), { raw })
        .png()
        .toFile(join(folder, String(label), `${i}.png`));
  }
}

/** Vectors of two models, those of the new one with less noise. */
function writeVectors(folder: string): void {
  const labels = Int32Array.from({ length: CLASSES * PER_CLASS }, (_, i) => Math.floor(i / PER_CLASS));
  for (const [name, noise] of [
    ['old', 1.5],
    ['new', 0.5],
  ] as const) {
    const rng = new Rng('vectors').split(name);
    const rows = Float32Array.from(
      { length: labels.length * CLASSES },
      (_, i) => (labels[Math.floor(i / CLASSES)] === i % CLASSES ? 1 : 0) + noise * (rng.uniform() - 0.5),
    );
    writeNpy(join(folder, `${name}.npy`), '<f4', rows, [CLASSES]);
  }
  writeNpy(join(folder, 'labels.npy'), '<i4', labels);
}
