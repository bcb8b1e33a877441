// The published configurations, comparing runs, and what else an experiment of many methods needs of the command line.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';

const NAME = 'OPclass_ms1mv3_r18_to_r50_MixBCT_softmax_to_arc_f128';
/** Settings that make a published recipe train on the tiny set in a second. */
const tiny = [
  'network.name=r18',
  'network.embeddingDim=8',
  'network.inputSide=16',
  'network.width=0.0625',
  'epochs=1',
  'batchSize=8',
]
  .flatMap((setting) => ['--set', setting])
  .concat('--threads', '1');

test('recipes lists the published configurations, prints one as YAML that trains, and knows a misspelt name', (t) => {
  const folder = testFolder(t);
  const list = mixbct(folder, 'recipes', '--json');
  assert.equal(list.code, 0, list.err);
  const names = (JSON.parse(list.out) as { name: string }[]).map(({ name }) => name);
  assert.equal(names.filter((name) => name.includes('_to_r50_')).length, 63);
  const files = names.filter((name) => name.endsWith('.yaml'));
  assert.ok(['lce', 'ract', 'bt2', 'hoc'].every((name) => files.includes(`recipes/glyphs/${name}.yaml`)));
  assert.equal(new Set(names).size, 63 + 9 + files.length);
  assert.match(mixbct(folder, 'recipes', 'recipes/glyphs/lce.yaml').out, /\n {2}alignWeight: 1\n/);
  const shown = mixbct(folder, 'recipes', NAME, '--preset', 'reference');
  const recipe = parse(shown.out);
  assert.deepEqual([recipe.name, recipe.preset, recipe.pretend.classes], [NAME, 'reference', 93_431]);
  assert.match(shown.out, /^# Differs from the reference:\n# {3}D-03/);
  const misspelt = mixbct(folder, 'recipes', NAME.replace('MixBCT', 'MixBTC'));
  assert.equal(misspelt.code, 2);
  assert.match(misspelt.err, new RegExp(`no recipe of that name; did you mean ${NAME}\\?`));
});

test('a published configuration trains by its name; two runs and two evaluations are compared', async (t) => {
  const folder = testFolder(t);
  const run = (...args: readonly string[]) => {
    const outcome = mixbct(folder, ...args);
    assert.equal(outcome.code, 0, `${args.join(' ')}\n${outcome.err}`);
    return outcome;
  };
  await writeTinySet(join(folder, 'all'), { perClass: new Array(12).fill(9), families: 3 });
  const sampled = run('data', 'sample', 'all', '--per-class', '6', '--seed', '3', '--json');
  assert.equal(JSON.parse(sampled.out).images, 72);
  const data = ['--data', 'all_sample_6'];
  run('train', 'f128_r18_softmax_class30', ...data, '--out', 'old', ...tiny);
  run('extract', 'old', ...data, '--out', 'features', '--threads', '1');
  run('denoise', 'features', '--rule', 'entropy', '--out', 'entropy');
  run('denoise', 'features', '--out', 'credible');
  run('boundaries', 'features', '--out', 'boundaries');
  run('average', 'features', '--out', 'prototypes');
  const side = ['--old-features', 'features'];
  run('train', NAME, ...data, '--out', 'mixbct', ...side, '--old-credible', 'credible', ...tiny);
  run('train', NAME.replace('MixBCT', 'NCCL'), ...data, '--out', 'nccl', ...side, '--old-credible', 'entropy', ...tiny);
  run(
    'train',
    NAME.replace('MixBCT', 'AdvBCT'),
    ...data,
    '--out',
    'advbct',
    ...side,
    '--old-boundaries',
    'boundaries',
    ...tiny,
  );
  run(
    'train',
    NAME.replace('MixBCT', 'BCT'),
    ...data,
    '--out',
    'bct',
    '--old-prototypes',
    'prototypes',
    '--preset',
    'reference',
    ...tiny,
  );

  const contrasts = JSON.parse(run('compare', 'mixbct', 'bct', '--json').out) as {
    what: string;
    a: unknown;
    b: unknown;
  }[];
  const of = (what: string) => contrasts.find((contrast) => contrast.what === what);
  assert.deepEqual([of('recipe.method.kind')?.a, of('recipe.method.kind')?.b], ['mixbct', 'bct']);
  assert.deepEqual([of('code.preset')?.a, of('code.preset')?.b], ['default', 'reference']);
  assert.ok(of('result.model') && !of('data.digest') && !of('recipe.optimizer.lr'), 'what is equal is not shown');
  assert.match(run('compare', 'mixbct', 'mixbct').out, /do not differ/);

  for (const name of ['old', 'mixbct', 'bct']) run('extract', name, ...data, '--out', `${name}-eval`, '--threads', '1');
  const judge = (out: string, ...news: readonly string[]) =>
    run(
      'evaluate',
      '--old',
      'old-eval',
      ...news.flatMap((name) => ['--new', `${name}=${name}-eval`]),
      '--out',
      out,
      '--resamples',
      '20',
    );
  judge('judge-1', 'mixbct', 'bct');
  judge('judge-2', 'mixbct');
  const report = readFileSync(join(folder, 'judge-1/report.md'), 'utf8');
  assert.match(report, /\*\*bct\*\*: preset reference; no setting differs/);
  assert.match(report, /\*\*mixbct\*\*: preset default; D-29 head\.sineFloor: 1e-12 \(reference: 0\)/);
  assert.match(run('compare', 'judge-1', 'judge-2').out, /result\.bct\.rank-1/);
  run('report', 'judge-1', 'judge-2', '--markdown', 'both.md');
  const both = readFileSync(join(folder, 'both.md'), 'utf8');
  assert.match(both, /\*\*TAR@FAR=1e-3 /);
  const rows = 'one row for each headline metric and one for the grade, made of both evaluations';
  assert.equal(both.match(/^\| mixbct /gm)!.length, 3, rows);

  const wrong = {
    'compare mixbct judge-1': /mixbct is of kind run, judge-1 of kind evaluation/,
    'compare mixbct nowhere': /nowhere: is neither a finished run nor an evaluation/,
    'data sample all --per-class 0 --out x': /--per-class 0: wanted a whole number/,
    'boundaries credible --out x': /credible/,
  };
  for (const [line, message] of Object.entries(wrong)) {
    const { code, err } = mixbct(folder, ...line.split(' '));
    assert.equal(code, 2, line);
    assert.match(err, message, line);
    assert.ok(!existsSync(join(folder, 'x')), line);
  }
});
