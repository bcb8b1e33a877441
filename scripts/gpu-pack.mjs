// node scripts/gpu-pack.mjs [--data PREFIX] [--out FOLDER]: packs what scripts/gpu-check.sh needs on a machine that has neither Node,
// npm packages nor network into FOLDER/mixbct-gpu-check.tar.gz, and puts the script beside it (docs/gpu.md).
// --data: glyph set K12 (default: data/k12/k12_32, fetched if it is not there), of which some classes travel.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { fail, root, run } from './setup/shell.mjs';

/** Classes that travel: enough for a training to learn, few enough for minutes. */
const HELD_OUT = 300;
/** What the archive may weigh. */
const MOST_MB = 60;

const { values } = parseArgs({
  options: { data: { type: 'string', default: join(root, 'data/k12/k12_32') }, out: { type: 'string', default: '.' } },
});
const out = resolve(values.out);
const folder = mkdtempSync(join(tmpdir(), 'mixbct-gpu-'));
const packed = join(folder, 'mixbct-gpu-check');
const mixbct = (...words) => run('mixbct', process.execPath, [join(root, 'dist/src/cli/main.js'), ...words]);

try {
  const take = (path, filter = () => true) =>
    cpSync(join(root, path), join(packed, path), { recursive: true, dereference: true, filter });
  const withoutMaps = (path) => !/\.(d\.ts|map)$|\.tsbuildinfo$/.test(path);
  for (const path of ['dist/src', 'dist/bench', 'dist/scripts', 'dist/test']) take(path, withoutMaps);
  for (const path of [
    'package.json',
    'native',
    'recipes',
    'experiments',
    'bench/peer',
    'scripts/setup.mjs',
    'scripts/setup',
  ])
    take(path);
  take('test/golden/make_state_dicts.py');
  for (const path of productionPackages()) take(path, (file) => !/\.(map|d\.[cm]?ts|md)$/.test(file));
  cpSync(process.execPath, join(packed, 'bin/node'));
  takeData();
  mkdirSync(out, { recursive: true });
  const archive = join(out, 'mixbct-gpu-check.tar.gz');
  run('tar', 'tar', ['-C', folder, '--use-compress-program=gzip -9', '-cf', archive, 'mixbct-gpu-check']);
  cpSync(join(root, 'scripts/gpu-check.sh'), join(out, 'gpu-check.sh'));
  const megabytes = statSync(archive).size / 1e6;
  if (megabytes > MOST_MB)
    fail(`${archive} has ${megabytes.toFixed(1)} MB`, `leave something out: it may have ${MOST_MB}`);
  process.stdout.write(`${archive}: ${megabytes.toFixed(1)} MB; run gpu-check.sh beside it on the other machine\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Folders of the packages that an installed mixbct has, below node_modules: those of package.json, and what they need. */
function productionPackages() {
  const found = new Set();
  const follow = (from) => {
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
      readFileSync(join(root, from, 'package.json'), 'utf8'),
    );
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      // as Node looks for it: in the folder itself, then in those above
      const parts = from.split('/');
      const path = parts
        .map((_, i) => join(parts.slice(0, parts.length - i).join('/'), 'node_modules', name))
        .concat(join('node_modules', name))
        .find((place) => existsSync(join(root, place)));
      if (path === undefined || found.has(path)) continue;
      found.add(path);
      follow(path);
    }
  };
  follow('.');
  return [...found].filter((path) => ![...found].some((other) => path.startsWith(`${other}/`)));
}

/** Some classes of K12. */
function takeData() {
  const prefix = resolve(values.data);
  if (!existsSync(`${prefix}.rec`)) mixbct('data', 'get', 'k12', '--folder', join(root, 'data'));
  mixbct('data', 'split', prefix, '--hold-out', String(HELD_OUT), '--seed', '1', '--out', folder);
  mkdirSync(join(packed, 'data'));
  for (const ending of ['rec', 'idx', 'json'])
    renameSync(join(folder, `${basename(prefix)}_eval.${ending}`), join(packed, `data/k12.${ending}`));
}
