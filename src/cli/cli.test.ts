import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { snapshot } from '../../test/helpers/bad-input.ts';
import { checkpointPath } from '../../test/helpers/checkpoints.ts';
import { mixbct, mixbctEach, mixbctProcess } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { zipOf } from '../../test/helpers/zip.ts';
import { packageRoot } from '../base/version.ts';
import { recordFiles } from '../data/recordio.ts';
import { writeNpy } from '../features/index.ts';

const recipe = `
network: { name: r18, embeddingDim: 8, inputSide: 16, width: 0.0625 }
head: { kind: arcface, marginRad: 0.2, scale: 16 }
optimizer: { kind: adamw, lr: 0.003 }
epochs: 1
batchSize: 8
`;

const experiment = `
title: 'A tiny upgrade'
stages:
  classes: { do: hold-out, of: ./set, classes: 4 }
  data: { do: split, of: classes.train, by: class, ratio: 0.4 }
  old: { do: train, on: data.first, recipe: recipe.yaml }
  old-features: { do: extract, model: old, of: data.second }
  credible: { do: denoise, features: old-features, keep: 0.8 }
  prototypes: { do: average, features: old-features }
  oracle: { do: train, on: data.second, recipe: recipe.yaml }
  mixbct:
    do: train
    on: data.second
    recipe: { network: { name: r18, embeddingDim: 8, inputSide: 16, width: 0.0625 }, method: { kind: mixbct }, epochs: 1, batchSize: 8 }
    old: { features: old-features, credible: credible }
  old-eval: { do: extract, model: old, of: classes.eval }
  oracle-eval: { do: extract, model: oracle, of: classes.eval }
  mixbct-eval: { do: extract, model: mixbct, of: classes.eval, flip: mean }
  judge: { do: evaluate, old: old-eval, oracle: oracle-eval, new: { mixbct: mixbct-eval }, resamples: 20 }
`;

const figureFiles = ['cmc', 'det', 'roc', 'tpir'].flatMap((name) => [`${name}.png`, `${name}.svg`]);

async function world(folder: string): Promise<void> {
  await writeTinySet(join(folder, 'set'), { perClass: new Array(14).fill(6), families: 3 });
  writeFileSync(join(folder, 'recipe.yaml'), recipe);
  writeFileSync(join(folder, 'tiny.yaml'), experiment);
}

test('an experiment runs from data to report; what is done is skipped, what has changed is said', async (t) => {
  const folder = testFolder(t);
  await world(folder);
  const first = mixbctProcess(folder, 'run', 'tiny.yaml', '--out', 'runs/a', '--threads', '1');
  assert.equal(first.code, 0, first.err);
  assert.match(first.out, /Can mixbct serve the old gallery\?/);
  for (const file of ['evaluation.json', 'report.html', 'report.md'])
    assert.ok(existsSync(join(folder, 'runs/a/judge', file)), file);
  const before = snapshot(folder);
  const again = mixbct(folder, 'run', 'tiny.yaml', '--out', 'runs/a', '--json');
  assert.equal(again.code, 0, again.err);
  assert.equal(again.err.match(/done already/g)!.length, 12);
  assert.equal(JSON.parse(again.out).evaluations[0].candidates[0].name, 'mixbct');
  assert.deepEqual(snapshot(folder), before);
  const changed = mixbct(folder, 'run', 'tiny.yaml', '--out', 'runs/a', '--set', 'stages.credible.keep=0.5');
  assert.equal(changed.code, 2);
  assert.match(changed.err, /stage credible was made with different options or inputs\n.*--force/);
  assert.deepEqual(snapshot(folder), before);
  const forced = mixbct(
    folder,
    'run',
    'tiny.yaml',
    '--out',
    'runs/a',
    '--set',
    'stages.credible.keep=0.5',
    '--force',
    '--threads',
    '1',
  );
  assert.equal(forced.code, 0, forced.err);
  assert.equal(
    forced.err.match(/done already/g)!.length,
    8,
    'credible, the model that used it, its features and the judgement are made again',
  );
  const report = mixbct(folder, 'report', 'runs/a/judge', '--markdown', 'r.md', '--figures', 'figures');
  assert.equal(report.code, 0, report.err);
  assert.match(readFileSync(join(folder, 'r.md'), 'utf8'), /^# A tiny upgrade/);
  assert.deepEqual(readdirSync(join(folder, 'figures')).sort(), figureFiles);
  const sets = ['--old', 'runs/a/old-eval', '--new', 'mixbct=runs/a/mixbct-eval', '--resamples', '20'];
  const judged = mixbct(folder, 'evaluate', ...sets, '--out', 'judged', '--figures');
  assert.equal(judged.code, 0, judged.err);
  const others = ['evaluation.json', 'manifest.json', 'report.html', 'report.md'];
  assert.deepEqual(readdirSync(join(folder, 'judged')).sort(), [...figureFiles, ...others].sort());
  const both = mixbct(folder, 'report', 'runs/a/judge', 'judged', '--html', 'both.html');
  assert.equal(both.code, 0, both.err);
  assert.match(readFileSync(join(folder, 'both.html'), 'utf8'), /runs\/a\/judge: old → old.*judged: old → old/s);
  const info = mixbct(folder, 'data', 'info', 'set', '--json', '--verify');
  assert.deepEqual(
    [JSON.parse(info.out).images, JSON.parse(info.out).families, JSON.parse(info.out).decoded],
    [84, 3, 84],
  );
});

test('each command names what is wrong with its input, exits 2 and leaves everything as it was', async (t) => {
  const folder = testFolder(t);
  await world(folder);
  const at = (name: string): string => join(folder, name);
  assert.equal(mixbct(folder, 'train', 'recipe.yaml', '--data', 'set', '--out', 'model', '--threads', '1').code, 0);
  assert.equal(mixbct(folder, 'extract', 'model', '--data', 'set', '--out', 'features', '--threads', '1').code, 0);
  assert.equal(mixbct(folder, 'denoise', 'features', '--out', 'credible', '--keep', '0.2').code, 0);
  await writeTinySet(at('other'), { perClass: [5, 5, 5] });
  assert.equal(
    mixbct(folder, 'extract', 'model', '--data', 'other', '--out', 'other-features', '--threads', '1').code,
    0,
  );
  for (const name of ['magic', 'short', 'label'])
    for (const ending of ['rec', 'idx', 'json']) cpSync(`${at('set')}.${ending}`, `${at(name)}.${ending}`);
  const magic = readFileSync(recordFiles(at('magic')).rec);
  magic[40] = 0; // the first image's chunk follows the header record of 40 bytes
  writeFileSync(recordFiles(at('magic')).rec, magic);
  truncateSync(recordFiles(at('short')).rec, magic.length - 9);
  const label = readFileSync(recordFiles(at('label')).rec);
  label.writeFloatLE(99, 40 + 8 + 24);
  writeFileSync(recordFiles(at('label')).rec, label);
  writeFileSync(at('unknown-key.yaml'), `${recipe}\nepoch: 3\n`);
  writeFileSync(at('broken.yaml'), 'network: [');
  writeFileSync(
    at('unknown-stage.yaml'),
    experiment.replace('features: old-features, keep', 'features: old-feature, keep'),
  );
  writeFileSync(at('strict.yaml'), `${recipe}\nmethod: { kind: mixbct, ratio: 0.9, onShortage: stop }\n`);
  writeNpy(at('f.npy'), '<f4', new Float32Array(12), [4]);
  writeNpy(at('l.npy'), '<i8', new BigInt64Array(2));
  mkdirSync(at('empty'));
  const checkpoint = readFileSync(checkpointPath('r18.pt'));
  writeFileSync(at('whole.pt'), checkpoint);
  writeFileSync(at('cut.pt'), checkpoint.subarray(0, checkpoint.length - 9));
  writeFileSync(at('evil.pt'), zipOf({ 'model/data.pkl': "cos\nsystem\n(S'true'\ntR." }));
  const train = (...args: string[]): string[] => ['train', ...args, '--out', 'out', '--threads', '1'];
  const importing = (file: string, network: string): string[] => [
    ...['import-model', file, '--network', network, '--out', 'out'],
  ];
  const exporting = (...args: string[]): string[] => ['export', 'model', '--out', 'out', ...args];
  const cases: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [['trian'], /unknown command 'trian'\n\(Did you mean train\?\)/],
    [['nonsense', '--help'], /^error: unknown command 'nonsense'\n/],
    [['trian', '--help'], /unknown command 'trian'\n\(Did you mean train\?\)/],
    [['data', 'inof', '--help'], /unknown command 'inof'\n\(Did you mean info\?\)/],
    [['evaluate', 'pakc', '--help'], /unknown command 'pakc'\n\(Did you mean pack\?\)/],
    [['help', 'trian'], /unknown command 'trian'/],
    [
      [...train('recipe.yaml', '--data', 'set'), '--worker', '2'],
      /unknown option '--worker'\n\(Did you mean --workers\?\)/,
    ],
    [['doctor', '--verbose'], /unknown option '--verbose'/],
    [['launch', '--nproc', '0', '--', 'train', 'recipe.yaml'], /--nproc 0: wanted a whole number from 1 to \d+/],
    [['launch', '--nproc', '2', '--nnodes', '0', '--', 'train', 'x'], /--nnodes 0: wanted a whole number from 1/],
    [['schema', 'receipt'], /value 'receipt' is invalid.*recipe, experiment/],
    [['data', 'get', 'k13'], /value 'k13' is invalid.*k12, k55/],
    [['data', 'get', 'k12', '--side', '4'], /--side 4: wanted a whole number of pixels from 8 to 512/],
    [['data', 'info', 'none'], /none: no such dataset/],
    [['data', 'info', 'short'], /short\.rec: record with key 84 at offset \d+: cut short/],
    [['data', 'import', 'empty', '--out', 'out'], /empty: holds no images/],
    [['data', 'import', 'other', '--out', 'set'], /set\.(rec|idx) exists already/],
    [['data', 'split', 'set'], /wanted either --by class\|data or --hold-out/],
    [['data', 'split', 'set', '--by', 'class', '--ratio', '3'], /--ratio 3: wanted a share between 0 and 1/],
    [['data', 'split', 'set', '--hold-out', '14'], /hold-out 14: wanted a whole number of classes below 14/],
    [
      ['data', 'split', 'magic', '--by', 'data', '--out', 'out'],
      /magic\.rec: record with key 1 at offset 40: wanted the magic word/,
    ],
    [train('none.yaml', '--data', 'set'), /none\.yaml: no such file, and no recipe of that name/],
    [train('broken.yaml', '--data', 'set'), /broken\.yaml: not valid YAML/],
    [train('unknown-key.yaml', '--data', 'set'), /epoch: no such key; did you mean epochs\?/],
    [train('recipe.yaml', '--data', 'set', '--set', 'network.width=wide'), /network\.width: expected number/],
    [train('recipe.yaml', '--data', 'none'), /none: no such dataset/],
    [
      train('recipe.yaml', '--data', 'magic'),
      /magic\.rec: record with key 1 at offset 40: wanted the magic word ced7230a at byte 40, got ced72300/,
    ],
    [train('recipe.yaml', '--data', 'short'), /short\.rec: record with key 84 at offset \d+: cut short/],
    [train('recipe.yaml', '--data', 'label'), /label 99 is out of range \(the set has 14 classes\)/],
    [
      train('recipe.yaml', '--data', 'set', '--set', 'method.kind=l2'),
      /method l2 needs old-features\n.*--old-features/,
    ],
    [
      train('recipe.yaml', '--data', 'set', '--set', 'method.kind=l2', '--old-features', 'other-features'),
      /other-features: made from .*other .*does not belong to set/,
    ],
    [
      train('recipe.yaml', '--data', 'set', '--set', 'method.kind=l2', '--old-features', 'credible'),
      /credible: is a "credible", wanted a feature set/,
    ],
    [
      train('strict.yaml', '--data', 'set', '--old-features', 'features', '--old-credible', 'credible'),
      /this batch has \d credible rows?, expected 7/,
    ],
    [train('recipe.yaml', '--data', 'set', '--resume'), /there is no checkpoint to resume from/],
    [['train', 'recipe.yaml', '--data', 'set', '--out', 'model'], /model: a finished run stands there/],
    [['train', 'recipe.yaml', '--data', 'short', '--out', 'model', '--force'], /cut short/],
    [exporting(), /required option '--to <format>' not specified/],
    [exporting('--to', 'tflite'), /argument 'tflite' is invalid.*onnx, pytorch, safetensors/],
    [['export', 'none', '--to', 'onnx', '--out', 'out'], /none: is no finished run/],
    [['export', 'features', '--to', 'onnx', '--out', 'out'], /features.*: .*"features"/],
    [['export', 'model', '--to', 'onnx', '--out', 'recipe.yaml', '--force'], /recipe\.yaml is not an ONNX file/],
    [exporting('--to', 'onnx', '--space', 'old'), /has no projection/],
    [exporting('--to', 'onnx', '--pixels', 'nchw'), /argument 'nchw' is invalid.*mapped, uint8-nhwc/],
    [exporting('--to', 'pytorch', '--pixels', 'uint8-nhwc'), /pixels in bytes: only an ONNX file has this/],
    [exporting('--to', 'safetensors', '--unit-length'), /unit length: only an ONNX file has this/],
    [exporting('--to', 'pytorch', '--check', 'set'), /a check: only an ONNX file has this/],
    [exporting('--to', 'onnx', '--check', 'none'), /none: no such dataset/],
    [exporting('--to', 'onnx', '--check', 'magic'), /magic\.rec: record with key 1 at offset 40/],
    [exporting('--to', 'onnx', '--evaluation', 'features'), /evaluation\.json: no such file/],
    [importing('whole.pt', 'r19'), /argument 'r19' is invalid.*r18, r34/],
    [['import-model', 'whole.pt', '--out', 'out'], /whole\.pt: the backbone of .* is not known\n.*--network/],
    [['import-model', 'x.pt', '--out', 'out', '--mean', '1,2'], /--mean 1,2: wanted one number, or three/],
    [['import-model', 'x.onnx', '--out', 'out', '--std', '0.229'], /--std 0\.229: wanted a number from 1 to 1000/],
    [importing('none.pt', 'r18'), /none\.pt: cannot be read/],
    [importing('recipe.yaml', 'r18'), /recipe\.yaml: is no checkpoint of PyTorch 1\.6 or newer/],
    [importing('cut.pt', 'r18'), /cut\.pt: is no checkpoint of PyTorch.*or it is cut short/],
    [importing('evil.pt', 'r18'), /evil\.pt: .*GLOBAL at byte 0: it names os\.system/],
    [importing('whole.pt', 'r18'), /conv1\.weight: wanted \[64,3,3,3\], got \[4,3,3,3\]/],
    [
      [...importing('whole.pt', 'r50'), '--side', '32', '--width', '0.0625'],
      /layer1\.2\.bn1\.weight is missing[\s\S]*the names are those of r18/,
    ],
    [importing('model/model.safetensors', 'r50'), /layer1\.2\.bn1\.weight is missing[\s\S]*those of r18/],
    [[...importing('whole.pt', 'r18'), '--side', '100'], /--side 100 .*one problem\n {2}network\.inputSide/],
    [['import-model', 'whole.pt', '--network', 'r18', '--out', 'model'], /model exists already\n.*--force/],
    [['extract', 'empty', '--data', 'set', '--out', 'out'], /empty: is no finished run/],
    [['extract', 'model', '--data', 'magic', '--out', 'out'], /wanted the magic word/],
    [['denoise', 'model', '--out', 'out'], /model: is a "run", wanted a feature set/],
    [['denoise', 'features', '--out', 'out', '--keep', '1.5'], /--keep 1\.5: wanted a share above 0/],
    [['average', 'none', '--out', 'out'], /none: no such folder, wanted a feature set/],
    [['import-features', 'f.npy', '--labels', 'l.npy', '--out', 'out'], /l\.npy: has shape \[2\], wanted \[3\]/],
    [['evaluate', '--old', 'features', '--out', 'out'], /nothing to judge/],
    [['evaluate', '--old', 'features', '--new', 'features', '--out', 'out'], /--new features: wanted name=folder/],
    [
      ['evaluate', '--old', 'features', '--new', 'a=features,', '--out', 'out'],
      /--new a=features,: wanted a folder, or two with a comma between them/,
    ],
    [
      ['evaluate', '--old', 'features', '--new', 'x=other-features', '--out', 'out'],
      /are not embeddings of the same images/,
    ],
    [['report', 'features'], /evaluation\.json: no such file/],
    [
      ['run', 'unknown-stage.yaml', '--out', 'out'],
      /stage credible uses old-feature, which is no stage; did you mean old-features\?/,
    ],
    [['run', 'recipe.yaml', '--out', 'out'], /problems\n/],
    [['quickstart', '--seed', 'one'], /wanted a whole number/],
  ];
  const outcomes = mixbctEach(
    folder,
    cases.map(([args]) => args),
  );
  for (const [i, [args, message]] of cases.entries()) {
    const { code, err, changed } = outcomes[i]!;
    assert.match(err, message, args.join(' '));
    assert.equal(code, 2, `${args.join(' ')}: ${err}`);
    assert.deepEqual(changed, [], `${args.join(' ')} left or changed something`);
  }
});

test('a checkpoint of PyTorch becomes an old model that extracts and compares as any other', async (t) => {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [3, 3] });
  const shape = ['--network', 'r18', '--side', '32', '--width', '0.0625'];
  const first = mixbct(folder, 'import-model', checkpointPath('r18.pt'), ...shape, '--out', 'old');
  assert.equal(first.code, 0, first.err);
  assert.match(first.out, /^old: r18 with embeddings of 8 dimensions; left out.*: cls_fc, BCT_FC\n$/);
  const second = mixbct(folder, 'import-model', 'old/model.safetensors', ...shape, '--out', 'again', '--json');
  assert.deepEqual(JSON.parse(second.out).imported.leftOut, []);
  const extracted = mixbct(folder, 'extract', 'old', '--data', 'set', '--out', 'features', '--threads', '1');
  assert.match(extracted.out, /^features: 6 features of 8 dimensions by old\n$/);
  const compared = JSON.parse(mixbct(folder, 'compare', 'old', 'again', '--json').out) as { what: string }[];
  assert.deepEqual(
    compared.map(({ what }) => what),
    ['imported.from', 'imported.digest', 'imported.leftOut'],
  );
});

test('every command has help with an example, and doctor and schema speak JSON', (t) => {
  const folder = testFolder(t);
  const names = [...mixbct(folder, '--help').out.matchAll(/^ {2}([a-z-]+)(?: \[options\]| {2})/gm)].map(
    ([, name]) => name!,
  );
  for (const name of [
    'quickstart',
    'run',
    'data',
    'train',
    'extract',
    'denoise',
    'average',
    'import-features',
    'import-model',
    'evaluate',
    'report',
    'schema',
    'doctor',
  ])
    assert.ok(names.includes(name), name);
  for (const name of names) assert.match(mixbct(folder, name, '--help').out, /\nExample:\n {2}mixbct /, name);
  for (const name of ['plan', 'run']) // they open a source of new vectors
    assert.match(mixbct(folder, 'migrate', name, '--help').out, new RegExp(`\nExample:\n  mixbct migrate ${name} \\S+ --model `)); // biome-ignore format: short
  const doctor = JSON.parse(mixbct(folder, 'doctor', '--json').out);
  assert.match(doctor.libtorch, /^\d+\.\d+/);
  assert.equal(JSON.parse(mixbct(folder, 'schema', 'recipe').out).type, 'object');
});

test('every command that the documents show exists, with the options shown', (t) => {
  const folder = testFolder(t);
  const helps = new Map<string, string>();
  const helpOf = (words: readonly string[]): string => {
    const key = words.join(' ');
    if (!helps.has(key)) helps.set(key, mixbct(folder, ...words, '--help').out);
    return helps.get(key)!;
  };
  const documents = ['README.md', ...readdirSync(join(packageRoot, 'docs')).map((name) => join('docs', name))];
  const texts = documents.map((name) => readFileSync(join(packageRoot, name), 'utf8').replaceAll('\\\n', ' '));
  // commands stand in fences marked bash, and between single backticks
  const fences = texts.flatMap((text) =>
    [...text.matchAll(/^```bash\n(.*?)^```/gms)].flatMap(([, fence]) => [...fence!.matchAll(/^mixbct ([^#\n]+)/gm)]),
  );
  const inline = texts.flatMap((text) => [...text.replace(/^```.*?^```/gms, '').matchAll(/`mixbct ([^`\n]+)`/g)]);
  // what stands behind -- is a command of its own
  const shown = [...fences, ...inline].flatMap(([, command]) =>
    command!.split(' -- ').map((part) => part.trim().split(/\s+/)),
  );
  assert.ok(shown.length > 15);
  for (const words of shown) {
    const [name, sub = ''] = words as [string, string?];
    const isGroup = /^Commands:$/m.test(helpOf([name]));
    const command = isGroup && sub ? [name, name === 'evaluate' && !/^\w/.test(sub) ? 'sets' : sub] : [name];
    const help = helpOf(command);
    assert.match(help, new RegExp(`^Usage: mixbct ${command.join(' ')} `), words.join(' '));
    for (const option of words.filter((word) => /^--[a-z]/.test(word)))
      assert.ok(help.includes(`${option} `), `mixbct ${words.join(' ')}: ${option}`);
  }
  for (const path of texts.flatMap((text) => [...text.matchAll(/\]\((?!http)([^)#]+)\)/g)].map(([, path]) => path!)))
    assert.ok(existsSync(join(packageRoot, path)) || existsSync(join(packageRoot, 'docs', path)), path);
});
