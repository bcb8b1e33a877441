// An ONNX file that PyTorch wrote as the old model, from import to evaluation.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { keptSets, writeSmallIjb } from '../../test/helpers/ijb.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { onnxPath } from '../../test/helpers/onnx.ts';
import type { Evaluation } from '../eval/index.ts';

const pack = resolve(import.meta.dirname, '../../../test/golden/packs/python2-protocol2.bin');
const THREADS = ['--threads', '1'];

test('an ONNX file serves as the old model: import, extract, denoise, MixBCT, evaluate sets, packs and IJB', async (t) => {
  const folder = testFolder(t);
  const run = (line: string): string => {
    const { code, out, err } = mixbct(folder, ...line.split(' '));
    assert.equal(code, 0, `${line}: ${err}`);
    return out;
  };
  await writeTinySet(join(folder, 'set'), { perClass: [9, 8, 7, 9, 8, 9] });
  await writeTinySet(join(folder, 'eval'), { perClass: [6, 6, 6, 6] });
  await writeSmallIjb(join(folder, 'ijb'), { subjects: 6 });
  writeFileSync(
    join(folder, 'mixbct.yaml'),
    'network: { name: r18, embeddingDim: 8, inputSide: 16, width: 0.0625 }\nmethod: { kind: mixbct }\nepochs: 2\nbatchSize: 8\n',
  );
  const declared = '--channels BGR --mean 104,117,123 --std 57,58,59 --output embedding --out old --name theirs';
  assert.match(
    run(`import-model ${onnxPath('bgr_nhwc.onnx')} ${declared}`),
    /^old: onnx with embeddings of 8 dimensions; input pixels \(float32 NHWC, 4 at a time\), output embedding\n$/,
  );
  assert.match(
    run('info old'),
    /theirs: onnx, 8 dimensions, input 16 × 16[\s\S]*NHWC, 4 at a time\) to embedding[\s\S]*BGR less 104/,
  );
  run('extract old --data set --out old-features --workers 0 --threads 1');
  run('launch --nproc 2 -- extract old --data set --out shared --workers 0 --threads 1');
  for (const name of ['features.npy', 'labels.npy'])
    assert.deepEqual(
      readFileSync(join(folder, 'shared', name)),
      readFileSync(join(folder, 'old-features', name)),
      name,
    );
  const { preprocessing } = JSON.parse(readFileSync(join(folder, 'old-features/manifest.json'), 'utf8'));
  assert.deepEqual(preprocessing.pixels, { channels: 'BGR', mean: [104, 117, 123], std: [57, 58, 59] });
  run('denoise old-features --keep 0.9 --out credible --threads 1');
  run('train mixbct.yaml --data set --out new --old-features old-features --old-credible credible --threads 1');
  for (const name of ['old', 'new']) run(`extract ${name} --data eval --out ${name}-eval --workers 0 --threads 1`);
  const judged = run('evaluate --old old-eval --new new=new-eval --out judged --resamples 20 --json');
  const tests = (JSON.parse(judged) as Evaluation).tests.map(({ query, gallery }) => `${query} → ${gallery}`);
  assert.deepEqual(tests, ['old → old', 'new → new', 'new → old']);

  const accuracies = run(`evaluate pack --pack ${pack} --model new --old old --workers 0 --threads 1 --json`);
  assert.equal((JSON.parse(accuracies) as unknown[]).length, 3);
  run('evaluate ijb --data ijb --model new --old old --out ijbc --resamples 20 --workers 0 --threads 1');
  assert.equal(keptSets(join(folder, 'features/ijb')).length, 2);

  for (const [line, message] of [
    ['evaluate ijb --data ijb --model old --pixels ijb --out x', /theirs declares its own mapping of pixels/],
    ['export old --to pytorch --out x.pt', /holds an ONNX model, which only embeds/],
    ['extract old --data set --out x --precision bf16', /theirs is an ONNX model/],
    ['extract old --data set --out x --space old', /theirs has no projection/],
  ] as const) {
    const { code, err } = mixbct(folder, ...line.split(' '), ...THREADS);
    assert.equal(code, 2, err);
    assert.match(err, message);
  }
});
