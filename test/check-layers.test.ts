// `npm run check` fails on what breaks the architecture: each fault planted in a copy of src/ is found and named.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { packageRoot } from '../src/base/version.ts';
import { testFolder } from './helpers/folder.ts';

/** A copy of src/ with code appended to files of it, and a table of layers with one wrong row. */
function copyWith(t: TestContext, planted: Readonly<Record<string, string>>): string {
  const root = testFolder(t);
  cpSync(join(packageRoot, 'src'), join(root, 'src'), { recursive: true });
  const agents = readFileSync(join(packageRoot, 'AGENTS.md'), 'utf8');
  writeFileSync(
    join(root, 'AGENTS.md'),
    agents.replace('| `methods` | base, torch, nn |', '| `methods` | base, torch |'),
  );
  for (const [file, code] of Object.entries(planted)) appendFileSync(join(root, 'src', file), `\n${code}\n`);
  return root;
}

function run(...words: readonly string[]): { readonly status: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { cwd: packageRoot, encoding: 'utf8' });
  return { status, said: stdout + stderr };
}

const checkLayers = (root: string) => run('scripts/check-layers.mjs', root);

test('the layers of the product hold', () => {
  assert.deepEqual(checkLayers(packageRoot), { status: 0, said: '' });
});

test('each planted break of the layers is found and named', (t) => {
  const faults: readonly (readonly [file: string, code: string, complaint: string])[] = [
    ['optim/sgd.ts', "import { openDataset } from '../data/open-dataset.ts';", 'optim/sgd.ts → data/open-dataset.ts'],
    ['base/rng.ts', "import type { Tensor } from '../torch/tensor-types.ts';", 'base/rng.ts → torch/tensor-types.ts'],
    ['nn/init.ts', "type T = import('../train/train.ts').TrainOptions;", 'nn/init.ts → train/train.ts'],
    ['heads/softmax.ts', "const train = () => import('../train/train.ts');", 'heads/softmax.ts → train/train.ts'],
    ['models/vit.ts', "import { openDataset } from '../data/open-dataset.ts';", 'models may not import data'],
    ['data/packs.ts', "import {\n  add,\n} from '../torch/ops.ts';", 'data/packs.ts → torch/ops.ts'],
    ['data/ranges.ts', "export * from './split.ts';", 'data/ranges.ts ↔ data/record-output.ts'],
    ['torch/tensor-types.ts', "import type { Native } from './native.ts';", 'torch/native.ts ↔ torch/tensor-types.ts'],
    ['methods/bct.ts', "import { l2 } from './l2.ts';", 'methods/bct.ts → methods/l2.ts'],
    ['methods/nccl.ts', '//\n'.repeat(121), 'methods/nccl.ts has'],
    ['report/format.ts', "import { rocCurve } from '../eval/evaluate.ts';", 'report/format.ts opens without libtorch'],
    ['cli/derive.ts', "new Option('--keeep <share>', 'share')", 'lacks --keeep'],
    ['base/option-name.ts', "export type More = '--forse';", 'has --forse, which no command has'],
  ];
  const { status, said } = checkLayers(copyWith(t, Object.fromEntries(faults)));
  assert.equal(status, 1);
  for (const [file, , complaint] of faults) assert.ok(said.includes(complaint), `${file}: ${complaint}\n${said}`);
  assert.match(said, /AGENTS\.md lacks the row of methods: base, torch, nn\n/);
  assert.match(said, /AGENTS\.md has a row that is no layer's: methods: base, torch\n/);
  assert.equal(said.trim().split('\n').length, faults.length + 3, said);
});

test('a hint with an option that no command has is refused by its type', (t) => {
  const root = testFolder(t);
  cpSync(join(packageRoot, 'src/base'), join(root, 'src'), { recursive: true });
  symlinkSync(join(packageRoot, 'node_modules'), join(root, 'node_modules'));
  symlinkSync(join(packageRoot, 'package.json'), join(root, 'package.json'));
  const { compilerOptions } = JSON.parse(readFileSync(join(packageRoot, 'tsconfig.json'), 'utf8'));
  const options = { ...compilerOptions, rootDir: 'src', noEmit: true };
  writeFileSync(join(root, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['src/planted.ts'] }));
  const refused = (code: string): string => {
    writeFileSync(
      join(root, 'src/planted.ts'),
      `import { optionHint } from './errors.ts';\nexport const hint = ${code};\n`,
    );
    return run('node_modules/typescript/bin/tsc', '-p', root).said;
  };
  assert.match(refused("optionHint('pass --forse to replace it')"), /no command has --forse/);
  assert.match(refused('optionHint(`--resume, then --memori $' + '{1 + 2}`)'), /no command has --memori/);
  assert.match(refused("optionHint('pass', ['--old-feature'])"), /"--old-feature"' is not assignable/);
  assert.match(refused("optionHint('--force'.toUpperCase())"), /wanted a literal/);
  assert.equal(refused("[optionHint('pass --resume, then --force'), optionHint(`--memory $" + '{3}`)]'), '');
});
