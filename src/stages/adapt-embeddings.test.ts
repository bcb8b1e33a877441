import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { gap } from '../../test/helpers/formula.ts';
import { unitRows } from '../../test/helpers/paired-rows.ts';
import { toHalf } from '../base/half.ts';
import { Rng } from '../base/rng.ts';
import { defaultPreprocessing } from '../features/feature-set-artifact.ts';
import {
  EmbeddingsFile,
  type EmbeddingsInfo,
  FeatureSet,
  writeEmbeddingFiles,
  writeFeatureSet,
} from '../features/index.ts';
import { writeAdapter } from './adapt.ts';
import { applyAdapterTo } from './adapt-embeddings.ts';

const [IDENTITIES, IMAGES, OLD_DIM, NEW_DIM] = [40, 4, 12, 8];
const COUNT = IDENTITIES * IMAGES;
const labels = Int32Array.from({ length: COUNT }, (_, i) => Math.floor(i / IMAGES));
const model = (name: string) => ({
  name,
  digest: `digest of ${name}`,
  preset: 'default',
  differences: [],
  trainedOn: null,
});
const ids = Array.from({ length: COUNT }, (_, i) => `photos/${i}.jpg`);
/** float16 has 11 bits. */
const OF_HALF = 1e-3;

/** Feature sets of an old model (12 dimensions) and a new one (8), an adapter each way, and the old rows as a file of `mixbct embed`. */
async function world(t: TestContext) {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const rows = { old: unitRows(COUNT, OLD_DIM, new Rng('old')), new: unitRows(COUNT, NEW_DIM, new Rng('new')) };
  rows.old[5 * OLD_DIM] = 3; // rows need not have length 1
  for (const [name, dim] of [
    ['old', OLD_DIM],
    ['new', NEW_DIM],
  ] as const)
    await writeFeatureSet(
      at(name),
      {
        dim,
        classes: IDENTITIES,
        labels,
        families: labels.map(() => -1),
        flip: 'none',
        dataset: null,
        model: model(name),
      },
      {},
      ({ append }) => append(rows[name]),
    );
  for (const direction of ['query', 'gallery'] as const)
    await writeAdapter({
      ...{ old: at('old'), new: at('new'), direction, out: at(direction), metric: 'rank-1', candidates: ['ridge'] },
      ...{ resamples: 10, allowWorse: true },
    });
  const embed = (name: string, by: string, change: Partial<EmbeddingsInfo> = {}): string => {
    const dim = by === 'old' ? OLD_DIM : NEW_DIM;
    const info: EmbeddingsInfo = {
      ...{ kind: 'embeddings', version: 1, mixbct: '0.4.0', count: COUNT, skipped: 0, dim, list: '', batchSize: 8 },
      ...{
        model: model(by),
        flip: 'none',
        preprocessing: defaultPreprocessing,
        dtype: 'float32',
        precision: 'float32',
      },
      ...change,
    };
    const stored = by === 'old' ? rows.old : rows.new;
    writeEmbeddingFiles(at(name), info, {
      ids,
      blocks: [{ ids, rows: info.dtype === 'float16' ? toHalf(stored) : stored }],
      skipped: Array.from({ length: info.skipped }, () => ({ id: 'photos/x.jpg', problem: 'unreadable' })),
    });
    return at(name);
  };
  const apply = (adapter: string, features: string, out: string) =>
    applyAdapterTo({ adapter: at(adapter), features: at(features), out: at(out) });
  return { at, rows, embed, apply };
}

test('a gallery that mixbct embed wrote is rewritten in every format, as a feature set with the same rows is', async (t) => {
  const { at, embed, apply } = await world(t);
  embed('gallery.npy', 'old', { skipped: 1 });
  await apply('gallery', 'old', 'set');
  using set = FeatureSet.open(at('set'));
  const wanted = set.block(0, COUNT);
  const info = (await apply('gallery', 'gallery.npy', 'rewritten.npy')) as EmbeddingsInfo;
  assert.deepEqual([info.count, info.dim, info.skipped], [COUNT, NEW_DIM, 1]);
  assert.deepEqual([info.adapter, info.model.digest], [set.info.adapter, set.info.model!.digest]);
  using file = new EmbeddingsFile(at('rewritten.npy'));
  assert.deepEqual(file.info, JSON.parse(JSON.stringify(info)));
  assert.deepEqual(file.block(0, COUNT), wanted);
  assert.deepEqual([file.ids.at(0), file.ids.at(COUNT - 1)], [ids[0], ids.at(-1)]);
  assert.deepEqual(file.skipped(), [{ id: 'photos/x.jpg', problem: 'unreadable' }]);
  await apply('gallery', 'gallery.npy', 'rewritten.jsonl');
  const lines = readFileSync(at('rewritten.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    lines.map(({ id }) => id),
    ids,
  );
  assert.deepEqual(Float32Array.from(lines.flatMap(({ embedding }) => embedding)), wanted);
  // float16 stays float16
  embed('half.npy', 'old', { dtype: 'float16' });
  await apply('gallery', 'half.npy', 'half-rewritten.npy');
  using half = new EmbeddingsFile(at('half-rewritten.npy'));
  assert.equal(half.info.dtype, 'float16');
  assert.ok(gap(half.block(0, COUNT), wanted) < OF_HALF);
});

test('files of other models, of other kinds, and damaged ones are refused, and nothing is written', async (t) => {
  const { at, rows, embed, apply } = await world(t);
  embed('old.npy', 'old');
  embed('new.npy', 'new');
  embed('foreign.npy', 'old', { model: model('foreign') });
  await apply('query', 'new.npy', 'mapped.npy');
  const refused = async (message: RegExp, adapter: string, features: string, out = 'refused.npy'): Promise<void> => {
    await assert.rejects(apply(adapter, features, out), message);
    for (const file of [out, `${out}.json`]) assert.ok(!existsSync(at(file)), file);
  };
  await refused(/maps features of the old model .*holds others \(new /, 'gallery', 'new.npy');
  await refused(/maps features of the new model .*holds others \(old /, 'query', 'old.npy');
  await refused(/holds others \(foreign /, 'gallery', 'foreign.npy');
  await refused(/through an adapter/, 'gallery', 'mapped.npy');
  await refused(/the ending of an output is its format/, 'gallery', 'old.npy', 'refused');
  writeFileSync(at('old.jsonl'), '');
  await refused(/old\.jsonl: of files with embeddings, a \.npy can be read/, 'gallery', 'old.jsonl');
  await refused(/none\.npy\.json: no such file/, 'gallery', 'none.npy');
  await assert.rejects(apply('gallery', 'old.npy', 'mapped.npy'), /mapped\.npy/, 'not overwritten without --force');

  const description = JSON.parse(readFileSync(at('old.npy.json'), 'utf8'));
  const describe = (change: object): void =>
    writeFileSync(at('old.npy.json'), JSON.stringify({ ...description, ...change }));
  describe({ dim: 11 });
  await refused(/has shape \[160, 12\], .* says \[160, 11\]/, 'gallery', 'old.npy');
  describe({ model: 3 });
  await refused(/"model" is not that of embeddings/, 'gallery', 'old.npy');
  describe({ skipped: 2 });
  await refused(/skipped\.jsonl/, 'gallery', 'old.npy');
  describe({});
  rows.old[7 * OLD_DIM] = Number.NaN;
  embed('nan.npy', 'old');
  await refused(/nan\.npy: row 7 is not finite/, 'gallery', 'nan.npy');
  writeFileSync(at('old.ids.jsonl'), '"a"\n');
  await refused(/old\.ids\.jsonl: holds 1 id, wanted 160/, 'gallery', 'old.npy');
});
