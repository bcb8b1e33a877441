// What was changed on disk, or belongs to something else, is noticed when it is opened.
import assert from 'node:assert/strict';
import { readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { cachedFileDigest } from '../artifacts/cached-digest.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { Rng } from '../base/rng.ts';
import {
  FeatureSet,
  type FeatureSetContent,
  openBoundaries,
  openCredible,
  openPrototypes,
  requireSameSource,
  writeBoundaries,
  writeCredible,
  writeFeatureSet,
  writePrototypes,
} from './index.ts';

const content: FeatureSetContent = {
  dim: 4,
  classes: 3,
  model: { name: 'm', digest: 'd', preset: 'default', differences: [], trainedOn: null },
  dataset: null,
  flip: 'none',
  labels: Int32Array.from({ length: 30 }, (_, i) => i % 3),
  families: new Int32Array(30),
  id: (row) => `image ${row}`,
  classIds: BigInt64Array.of(5n, 7n, 9n),
};

/** A feature set with all that a set may hold, and everything that is derived from it. */
async function artefacts(t: TestContext) {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const rng = new Rng('digests');
  const rows = Float32Array.from({ length: 30 * 4 }, () => rng.uniform());
  await writeFeatureSet(at('set'), content, {}, ({ append }) => append(rows));
  using set = FeatureSet.open(at('set'));
  await writeCredible(at('mask'), set, { keep: 0.5 });
  await writePrototypes(at('prototypes'), set);
  await writeBoundaries(at('boundaries'), set);
  return { at, open: (): void => FeatureSet.open(at('set')).close() };
}

/** Changes the last bit of a file's last byte but one. */
function touchUp(path: string): () => void {
  const bytes = readFileSync(path);
  const changed = Buffer.from(bytes);
  changed[changed.length - 2]! ^= 1;
  writeFileSync(path, changed);
  return () => writeFileSync(path, bytes);
}

test('one changed bit in any file of a set or of what is derived from it is told, with the file and what to do', async (t) => {
  const { at, open } = await artefacts(t);
  for (const name of ['features.npy', 'labels.npy', 'families.npy', 'ids.jsonl', 'class-ids.npy']) {
    const restore = touchUp(at(`set/${name}`));
    assert.throws(open, (error: Error) => error.message.startsWith(`${at(`set/${name}`)}: was changed or damaged since it was made (digest `) && /hint: make the feature set again/.test(error.message)); // biome-ignore format: long
    restore();
    open();
  }
  for (const [open, files, command] of [
    [() => openCredible(at('mask')), ['mask/credible.npy'], 'denoise'],
    [() => openPrototypes(at('prototypes')), ['prototypes/prototypes.npy'], 'average'],
    [() => openBoundaries(at('boundaries')), ['centres', 'radii', 'kept'].map((name) => `boundaries/${name}.npy`), 'boundaries'], // biome-ignore format: long
  ] as const)
    for (const file of files) {
      const restore = touchUp(at(file));
      assert.throws(open, new RegExp(`was changed or damaged since it was made .*\\n.*mixbct ${command}`));
      restore();
      open();
    }
  renameSync(at('set/ids.jsonl'), at('ids.jsonl'));
  assert.throws(open, /ids\.jsonl: no such file/);
});

test('sets of older versions state fewer digests and open', async (t) => {
  const { at, open } = await artefacts(t);
  const { files: _, ...before } = readJson(at('set/manifest.json')) as Record<string, unknown>;
  writeJson(at('set/manifest.json'), before);
  open();
  const { model: __, ...mask } = readJson(at('mask/manifest.json')) as Record<string, unknown>;
  writeJson(at('mask/manifest.json'), mask);
  assert.equal(openCredible(at('mask')).info.model, undefined);
});

test('a file is hashed once for each time of change, and MIXBCT_VERIFY_GB says up to which size', async (t) => {
  const { at, open } = await artefacts(t);
  const path = at('set/features.npy');
  const old = new Date(Date.now() - 60_000);
  utimesSync(path, old, old);
  open();
  const before = cachedFileDigest(path);
  const restore = touchUp(path);
  utimesSync(path, old, old);
  assert.notEqual(
    cachedFileDigest(path),
    before,
    'the inode knows that it changed, whatever its modification time says',
  );
  assert.throws(open, /was changed/);
  t.after(() => delete process.env['MIXBCT_VERIFY_GB']);
  process.env['MIXBCT_VERIFY_GB'] = '0';
  open();
  openCredible(at('mask'));
  process.env['MIXBCT_VERIFY_GB'] = '1';
  assert.throws(open, /was changed/);
  process.env['MIXBCT_VERIFY_GB'] = 'much';
  assert.throws(open, /MIXBCT_VERIFY_GB=much: wanted a number of gigabytes/);
  delete process.env['MIXBCT_VERIFY_GB'];
  restore();
  open();
  FeatureSet.open(at('set'), { verify: false }).close();
  rmSync(path);
  assert.throws(open, /features\.npy: no such file/);
});

test('artefacts of one old model belong together, those of another do not', () => {
  const [a, b] = [{ name: 'a', digest: 'aa' }, { name: 'b', digest: 'bb' }]; // biome-ignore format: short
  const features = { path: 'features', features: '1', model: a };
  requireSameSource(features, { path: 'mask', features: '1', ofRows: true });
  requireSameSource(features, { path: 'prototypes', features: '2', model: a });
  for (const other of [
    { path: 'mask', features: '2', model: a, ofRows: true },
    { path: 'prototypes', features: '2', model: b },
    { path: 'prototypes', features: '2' },
    { path: 'prototypes', features: '2', model: null },
  ])
    assert.throws(() => requireSameSource(features, other), /^UserError: (mask|prototypes) \(.*features 2\) does not belong to features \(model a aa, features 1\)\n/); // biome-ignore format: long
});
