// Training with an old model that has no embedding of some samples, or of a whole class.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { type OldSide, tinySet, weights } from '../../test/helpers/runs.ts';
import type { Dataset } from '../data/index.ts';
import { FeatureSet, writeBoundaries, writeCredible, writeFeatureSet, writePrototypes } from '../features/index.ts';
import { type OldPaths, openOld } from './old.ts';
import { train } from './train.ts';

/** Samples 3 and 12, and all of class 2: 17 … 23 of 50 images in 6 classes of 9, 8, 7, 9, 8, 9. */
const MISSING = [3, 12, 17, 18, 19, 20, 21, 22, 23];

/** An old model's features of a set, without those of some rows, and what is derived of them. */
async function oldSideWithout(dataset: Dataset, folder: string, missing: readonly number[]): Promise<OldSide> {
  const at = (name: string): string => join(folder, name);
  const dim = 8;
  const content = {
    ...{ dim, classes: dataset.classes, model: null, flip: 'none' as const },
    dataset: { path: dataset.path, digest: dataset.digest, count: dataset.size, classes: dataset.classes },
    labels: dataset.labels(),
    families: dataset.families(),
  };
  await writeFeatureSet(at('features'), content, {}, ({ append, markMissing }) => {
    for (let row = 0; row < dataset.size; row++)
      append(
        Float32Array.from({ length: dim }, (_, d) =>
          missing.includes(row) ? 0 : Math.sin(content.labels[row]! * 7 + d + row / 90),
        ),
      );
    markMissing(missing.map((row) => ({ row, id: `image ${row}`, problem: 'for the test' })));
  });
  using set = FeatureSet.open(at('features'));
  await writeCredible(at('credible'), set, { keep: 0.7 });
  await writePrototypes(at('prototypes'), set);
  await writeBoundaries(at('boundaries'), set);
  return {
    features: at('features'),
    credible: at('credible'),
    prototypes: at('prototypes'),
    boundaries: at('boundaries'),
  };
}

test('each method leaves out the samples of which it needs something that is missing, counts and names them', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const write = t.mock.method(process.stderr, 'write', () => true);
  const side = await oldSideWithout(dataset, folder, MISSING);
  const without = (rows: readonly number[]): number[] => [...Array(50).keys()].filter((i) => !rows.includes(i));
  const lostClass = MISSING.slice(2);
  const cases: readonly (readonly [string, (keyof OldPaths)[], readonly number[]])[] = [
    ['independent', [], []],
    ['l2', ['features'], MISSING],
    ['mixbct', ['features', 'credible'], MISSING],
    ['nccl', ['features'], MISSING],
    ['advbct', ['features', 'boundaries'], MISSING],
    ['bct', ['prototypes'], lostClass],
    ['unibct', ['features'], lostClass],
  ];
  for (const [kind, paths, lost] of cases) {
    const method = { kind, ...(kind === 'unibct' && { startEpoch: 0, refreshEpochs: [0] }) };
    const recipe = tinyRecipe({ method, epochs: 2 });
    using supply = openOld(recipe, Object.fromEntries(paths.map((what) => [what, side[what]])), dataset);
    const seen = new Set<number>();
    const old = {
      ...supply,
      forBatch: (indices: Int32Array) => {
        for (const i of indices) seen.add(i);
        return supply.forBatch(indices);
      },
    };
    const out = join(folder, kind);
    const { counts, steps } = await train({ recipe, dataset, old, out });
    assert.ok([...seen].every((i) => !lost.includes(i)), kind); // biome-ignore format: short
    assert.deepEqual([...(supply.samples ?? without([]))], without(lost), kind);
    assert.equal(steps, 2 * Math.floor((50 - lost.length) / 8), kind);
    assert.equal(counts['images without an old embedding'], lost.length || undefined, kind);
    const said = write.mock.calls.map(({ arguments: [text] }) => String(text)).join('');
    assert.equal(said.includes(`${out}: ${lost.length} of 50 images are left out of training`), lost.length > 0, kind);
  }
  const few = tinyRecipe({ method: { kind: 'l2' }, batchSize: 48 });
  using supply = openOld(few, { features: side.features }, dataset);
  await assert.rejects(
    train({ recipe: few, dataset, old: supply, out: join(folder, 'few') }),
    /41 images do not fill one batch of 48 \(9 more have no old embedding\)/,
  );
});

test('a run with samples left out goes on to the same bytes, and counts them once', async (t) => {
  const { folder, dataset } = await tinySet(t);
  t.mock.method(process.stderr, 'write', () => true);
  const side = await oldSideWithout(dataset, folder, MISSING);
  const recipe = tinyRecipe({ method: { kind: 'l2' }, epochs: 2 });
  using old = openOld(recipe, { features: side.features }, dataset);
  const whole = join(folder, 'whole');
  await train({ recipe, dataset, old, out: whole });
  const cut = join(folder, 'cut');
  const stop = new AbortController();
  const stopping = {
    ...old,
    forBatch: (indices: Int32Array) => {
      stop.abort();
      return old.forBatch(indices);
    },
  };
  await assert.rejects(train({ recipe, dataset, old: stopping, out: cut, signal: stop.signal }), /stopped at step 1 /);
  const { counts } = await train({ recipe, dataset, old, out: cut, resume: true });
  assert.equal(counts['images without an old embedding'], 9);
  assert.deepEqual(weights(cut), weights(whole));
});
