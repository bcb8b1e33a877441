import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { checkpointPath, checkpoints } from '../../test/helpers/checkpoints.ts';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { importModel } from '../runs/import-model.ts';

const MBF = checkpoints.networks.find(({ network }) => network === 'mbf')!;

const moduleOf = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;
/** Lets Node find no ONNX Runtime. */
const HOOK = `export const resolve = (name, context, next) => {
  if (name === 'onnxruntime-node') throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' });
  return next(name, context);
};`;
const WITHOUT_RUNTIME = moduleOf(
  `import { register } from 'node:module'; register(${JSON.stringify(moduleOf(HOOK))});`,
);

test('export writes, checks and tells; without ONNX Runtime only the check fails, with what to install', async (t) => {
  const folder = testFolder(t);
  await importModel(checkpointPath(MBF.file), MBF, join(folder, 'run'));
  await writeTinySet(join(folder, 'set'), { perClass: [3, 3] });
  const line = (out: string): string[] => ['export', 'run', '--to', 'onnx', '--out', out, '--threads', '1'];
  const checked = mixbct(folder, ...line('a/b/checked.onnx'), '--check', 'set');
  assert.equal(checked.code, 0, checked.err);
  assert.match(
    checked.out,
    /^a\/b\/checked.onnx: run with embeddings of 8 dimensions, .* on 6 images: largest difference of unit embeddings \d\.\de-\d+, smallest cosine 1\.0000/,
  );
  assert.deepEqual(readdirSync(join(folder, 'a/b')), ['checked.onnx', 'checked.onnx.model-card.md']);
  const without = (...words: string[]) =>
    spawnSync(process.execPath, ['--import', WITHOUT_RUNTIME, resolve(import.meta.dirname, 'main.js'), ...words], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
    });
  const refused = without(...line('c.onnx'), '--check', 'set');
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /the check needs the package onnxruntime-node.* not installed\n {2}hint: .*npm install/);
  assert.ok(!existsSync(join(folder, 'c.onnx')));
  const written = without(...line('c.onnx'));
  assert.equal(written.status, 0, written.stderr);
});

test('the model card has the figures of an evaluation, and the cosines from which on it accepts pairs', async (t) => {
  const folder = testFolder(t);
  await importModel(checkpointPath(MBF.file), MBF, join(folder, 'run'));
  await writeTinySet(join(folder, 'set'), { perClass: new Array(6).fill(4), families: 2 });
  const judging = ['--old', 'features', '--new', 'new=features', '--resamples', '10', '--impostors', '50'];
  for (const line of [
    ['extract', 'run', '--data', 'set', '--out', 'features', '--threads', '1'],
    ['evaluate', ...judging, '--out', 'judged'],
    ['export', 'run', '--to', 'safetensors', '--out', 'model.safetensors', '--evaluation', 'judged'],
  ]) {
    const { code, err } = mixbct(folder, ...line);
    assert.equal(code, 0, err);
  }
  const R18 = checkpoints.networks.find(({ network }) => network === 'r18')!;
  await importModel(checkpointPath(R18.file), R18, join(folder, 'other'));
  const refused = mixbct(folder, 'export', 'other', '--to', 'pytorch', '--out', 'other.pt', '--evaluation', 'judged');
  assert.match(
    refused.err,
    /judged judges old \(digest \w+\), new \(digest \w+\), and not other \(digest \w+\), which is exported\n.*--evaluation/,
  );
  assert.ok(!existsSync(join(folder, 'other.pt')));
  const card = readFileSync(join(folder, 'model.safetensors.model-card.md'), 'utf8');
  assert.ok(!card.includes('was not checked'));
  assert.match(card, /\n## Evaluation\n.*\n### Can new serve the old gallery\?\n/s);
  assert.match(card, /\n### Thresholds\n.*\| new → old \| 1e-3 \| -?[01]\.\d{6} \| \d+\.\d\d % \|/s);
});
