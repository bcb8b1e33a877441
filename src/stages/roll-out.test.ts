// From training to the cut-over of a gallery in LanceDB by one experiment file.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { writeTinySet } from '../../test/helpers/images.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { tinySet } from '../../test/helpers/runs.ts';
import { readJson } from '../artifacts/json-file.ts';
import { describePath } from '../info/describe.ts';
import { writeBackfill } from './backfill.ts';
import { describeGallery } from './galleries.ts';
import { rollBack, verifyGallery } from './migrate.ts';
import { type RollOut, rollOutFiles, rollOutUrl, searchesText } from './roll-out-artifact.ts';
import { type RollOutOptions, rollOut } from './roll-out-gallery.ts';
import { runExperiment } from './run-experiment.ts';

const IMAGES = 50;
const script = resolve(import.meta.dirname, '../../test/helpers/run-until-line.js');

/** An experiment on `set`, whose gallery is moved to `model`. */
const experiment = (set: string, model = 'new'): string => `title: x
stages:
  old:
    do: train
    on: ${set}
    recipe: &recipe
      network: { name: r18, embeddingDim: 8, inputSide: 16, width: 0.0625 }
      head: { kind: softmax }
      optimizer: { kind: adamw, lr: 0.003 }
      augment: { flip: false }
      epochs: 4
      batchSize: 8
  old-features: { do: extract, model: old, of: ${set} }
  new:
    do: train
    on: ${set}
    old: { features: old-features }
    recipe: { <<: *recipe, epochs: 6, method: { kind: l2, weight: 10 } }
  new-features: { do: extract, model: new, of: ${set} }
  judge: { do: evaluate, old: old-features, new: { l2: new-features }, impostors: 500, resamples: 10, trial: true }
  simulation: { do: simulate-backfill, old: old-features, new: new-features, orders: [uncertain-first], steps: 2, draws: 1 }
  gallery:
    do: roll-out
    old: old-features
    new: new-features
    data: ${set}
    model: ${model}
    evaluation: judge
    backfill: simulation
    order: uncertain-first
    queries: 30
`;

/** What a roll-out of the sets of an experiment refuses, with nothing left behind. */
async function refuses(folder: string, prefix: string, places: Readonly<Record<string, string>>): Promise<void> {
  const [old, newer, model, evaluation] = ['old-features', 'new-features', 'new', 'judge'].map((name) => places[name]!) as [string, string, string, string]; // biome-ignore format: short
  const out = join(folder, 'refused');
  const refused = (more: Partial<RollOutOptions>, problem: RegExp) =>
    assert.rejects(rollOut({ old, new: newer, data: prefix, model, evaluation, out, ...more }), problem);
  await refused({ out: join(folder, 'a#b') }, /a#b: a gallery cannot be in a folder with # in its name/);
  await refused(
    { gallery: 'postgres://me:geheim@localhost/x#faces' },
    /me:\*\*\*@.*must not name a password\n.*PGPASSWORD/,
  );
  await refused({ gallery: 'postgre://localhost/x#faces' }, /is no URL of a store/);
  await writeTinySet(join(folder, 'elsewhere'), { perClass: [5, 5, 5] });
  await refused({ data: join(folder, 'elsewhere') }, /old-features has no features of .*elsewhere/);
  const simulation = join(folder, 'simulation');
  await writeBackfill({ old: newer, new: old, orders: ['random'], steps: 1, draws: 1, resamples: 5, impostors: 500, out: simulation }); // biome-ignore format: short
  await refused({ backfill: simulation, order: 'random' }, /simulation is a simulation with other features than .*old-features/); // biome-ignore format: short
  assert.ok(!existsSync(out));
}

test('an experiment trains, judges, and moves a gallery to the cut-over; killed on the way, it goes on', async (t) => {
  const { folder, prefix } = await tinySet(t);
  const reports = reportsOf(t);
  const at = (name: string): string => join(folder, name);
  writeFileSync(at('x.yaml'), experiment(prefix));
  for (const line of ['28 of 50 moved', 'after']) {
    const killed = spawnSync(process.execPath, [script, at('x.yaml'), at('out'), line], { encoding: 'utf8' });
    assert.equal(killed.signal, 'SIGKILL', `${line}: ${killed.stderr}`);
    assert.ok(!existsSync(at('out/gallery')), 'it is there whole or not at all');
  }
  const { places } = await runExperiment(at('x.yaml'), { out: at('out'), dataFolder: folder, workers: 0 });
  const gallery = places['gallery']!;
  const text = reports.text();
  assert.doesNotMatch(text, /^before|moved:/m, 'what was done counts');
  assert.match(text, /^after the cut-over: queries of the new model: \d+ right/m);
  const { before, during, after, ...done } = readJson(rollOutFiles(gallery).progress) as RollOut;
  assert.deepEqual(done, { loaded: { rows: IMAGES }, moved: { rows: 28 }, verified: { rows: IMAGES, remade: IMAGES }, cutOver: true }); // biome-ignore format: short
  for (const counts of [before!.old, after!.new]) assert.equal(counts!.right + counts!.wrong + counts!.none, 30);
  for (const { new: counts, withheld } of [before!, during!]) assert.deepEqual([counts, withheld], [null, true]);
  assert.match(
    searchesText(before!),
    /old model: .*; no queries of the new model: the evaluation has no verdict on them/,
  );
  assert.equal(after!.old, null, 'no evaluation is of old queries on new vectors');
  assert.match(searchesText({ old: null, new: null }), /the evaluation allows none/);
  assert.ok(after!.new!.right > 15, JSON.stringify(after));
  const { stamp, migration, rows, moved } = await describeGallery(rollOutUrl(gallery));
  assert.deepEqual([stamp!.model, migration?.phase, rows, moved], [migration?.target.model, 'cut-over', IMAGES, IMAGES]); // biome-ignore format: short
  assert.ok((await verifyGallery(rollOutUrl(gallery), { sample: 10 })).ok);
  assert.match(JSON.stringify(await describePath(gallery)), /50, moved from .* cut over/);
  assert.deepEqual(readdirSync(gallery).sort(), ['gallery', 'manifest.json', 'order.jsonl', 'roll-out.json', 'thresholds.json']); // biome-ignore format: short
  const made = readFileSync(rollOutFiles(gallery).progress, 'utf8');

  // it is done, a change makes it stale, and --force replaces the gallery
  const again = { out: at('out'), dataFolder: folder, workers: 0 };
  await runExperiment(at('x.yaml'), again);
  const settings = ['stages.gallery.queries=20'];
  await assert.rejects(runExperiment(at('x.yaml'), { ...again, settings }), /stage gallery was made with different/);
  await runExperiment(at('x.yaml'), { ...again, settings, force: true });
  assert.notEqual(readFileSync(rollOutFiles(gallery).progress, 'utf8'), made);
  await rollBack(rollOutUrl(gallery));
  assert.equal((await describeGallery(rollOutUrl(gallery))).migration, null);

  // a gallery in another store
  const url = `sqlite:${at('gallery.db')}#faces`;
  await runExperiment(at('x.yaml'), {
    ...again,
    settings: [...settings, `stages.gallery.gallery=${url}`],
    force: true,
  });
  const other = await describeGallery(url);
  assert.deepEqual([other.kind, other.migration?.phase, other.moved], ['sqlite', 'cut-over', IMAGES]);
  assert.match(JSON.stringify(await describePath(gallery)), /sqlite:.*#faces/);
  assert.ok(!existsSync(join(gallery, 'gallery')));

  await refuses(folder, prefix, places);

  writeFileSync(at('x.yaml'), experiment(prefix, 'old'));
  await assert.rejects(
    runExperiment(at('x.yaml'), { ...again, force: true }),
    /new-features is not of the model .*old/,
  );
});
