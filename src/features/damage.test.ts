// Damaged files of feature sets and of what is derived from them: refused with a plain message, or read as what they say.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readDamaged, writeAnew } from '../../test/helpers/damage.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { classPrototypes, denoise, FeatureSet, openPrototypes, writeFeatureSet, writePrototypes } from './index.ts';

test('ten thousand damaged manifests, labels, ids and class ids are refused, or give what they state', async (t) => {
  const folder = testFolder(t);
  const [set, prototypes] = [join(folder, 'set'), join(folder, 'prototypes')];
  const content = {
    ...{ dim: 2, classes: 2, model: null, dataset: null, flip: 'none' as const },
    labels: Int32Array.of(0, 1, 1, 0, 1),
    families: Int32Array.of(-1, 0, 1, 2, 3),
    classIds: BigInt64Array.of(17n, 2_000_000_000n),
    id: (row: number) => `person/${row}.jpg`,
  };
  await writeFeatureSet(set, content, {}, ({ append, markMissing }) => {
    append(Float32Array.of(1, 2, 3, 4, 0, 0, 5, 6, 7, 8));
    markMissing([{ row: 2, id: 'person/2.jpg', problem: 'for the test' }]);
  });
  using features = FeatureSet.open(set);
  await writePrototypes(prototypes, features);
  const manifest = join(set, 'manifest.json');
  const { files: _, ...info } = readJson(manifest) as Record<string, unknown>;
  writeJson(manifest, info); // no digests but that of the features: the others are read
  const paths = [
    manifest,
    ...['labels.npy', 'ids.jsonl', 'class-ids.npy', 'features.npy'].map((name) => join(set, name)),
    ...['manifest.json', 'prototypes.npy'].map((name) => join(prototypes, name)),
  ];
  const sources = paths.map((path) => readFileSync(path));
  const counts = readDamaged(sources, (damaged, source) => {
    writeAnew(paths[source]!, damaged);
    try {
      if (source >= 5) {
        const { rows, info } = openPrototypes(prototypes);
        assert.equal(rows.length, info.classes * info.dim);
        return;
      }
      using changed = FeatureSet.open(set);
      const { count, dim, classes } = changed.info;
      assert.equal(changed.all().length, count * dim);
      assert.ok(changed.labels().every((label) => label < classes));
      assert.ok([...changed.missing()].every((row) => row < count));
      for (let row = 0; row < count; row++) assert.ok(changed.name(row).startsWith(`row ${row} (`));
      assert.equal(changed.classIds()?.length, classes);
      assert.equal(denoise(changed, { keep: 0.5 }).length, count);
      assert.equal(classPrototypes(changed).length, classes * dim);
    } finally {
      writeAnew(paths[source]!, sources[source]!);
    }
  });
  assert.ok(counts.read > 500 && counts.refused > 2000, JSON.stringify(counts));
});
