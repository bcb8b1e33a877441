// What a report says of the models' training data, from record sets to its sentences.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { recordingEncoder } from '../../test/helpers/encoder.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { trained } from '../../test/helpers/runs.ts';
import { writeIds } from '../artifacts/id-list.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { holdOut, openDataset, split } from '../data/index.ts';
import { idsPath } from '../data/sidecar.ts';
import { readEvaluation } from '../eval/evaluation-artifact.ts';
import { extractFeatures, FeatureSet, importNpy, writeNpy } from '../features/index.ts';
import { renderHtml, renderMarkdown, renderTerminal } from '../report/index.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import { evaluateSets } from './evaluate-sets.ts';
import { runExperiment } from './run-experiment.ts';

const HELD = 110;

/** Sets without class names: `eval` of 110 classes, `train` of 120, split by data in `early` and `late`; runs `old` and `new`. */
async function world(t: TestContext) {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  await writeTinySet(at('set'), { perClass: new Array(HELD + 120).fill(4), families: 4 });
  using set = openDataset(at('set'));
  const [held, rest] = await holdOut(set, { classes: HELD, seed: 1 });
  using train = openDataset(rest!.prefix);
  const [early, late] = await split(train, { by: 'data', ratio: 0.4 });
  const sets = { eval: held!.prefix, train: rest!.prefix, early: early!.prefix, late: late!.prefix };
  const trainOn = async (name: string, path: string) => {
    using dataset = openDataset(path);
    await trained(dataset, at(name), { epochs: 1, batchSize: 24 });
  };
  await trainOn('old', sets.early);
  await trainOn('new', sets.train);
  const extract = async (run: string, of: keyof typeof sets): Promise<string> => {
    const out = at(`${run}-on-${of}`);
    using dataset = openDataset(sets[of]);
    using encoder = await openEncoder(at(run));
    await extractFeatures(dataset, encoder, { out });
    return out;
  };
  let evaluations = 0;
  const evaluateOn = async (old: string, fresh: string, trial?: boolean) =>
    evaluateSets({
      title: 'a test',
      old,
      candidates: [{ name: 'new', features: fresh }],
      seed: 0,
      impostors: 20_000,
      resamples: 50,
      out: at(`evaluation-${evaluations++}`),
      force: false,
      ...(trial !== undefined && { trial }),
    });
  return { at, extract, evaluateOn };
}

test('a report says what is known of training data, and withholds the verdict on training images', async (t) => {
  const { at, extract, evaluateOn } = await world(t);
  const oldEval = await extract('old', 'eval');
  const newEval = await extract('new', 'eval');
  const fair = await evaluateOn(oldEval, newEval);
  assert.deepEqual(
    fair.models.map(({ trainingData }) => trainingData!.relation),
    ['disjoint', 'disjoint'],
  );
  assert.match(
    renderTerminal(fair),
    /440 images of 110 classes that no model was trained on \(checked\) in 4\s+families\./,
  );
  assert.doesNotMatch(renderTerminal(fair), /no verdict on|caution/);
  assert.ok(fair.candidates[0]!.comparisons.every(({ criterion }) => criterion !== 'withheld'));

  const own = await evaluateOn(await extract('old', 'train'), await extract('new', 'train'));
  assert.deepEqual(own.candidates[0]!.withheld, { reason: 'training images' });
  for (const text of [renderTerminal(own), renderHtml(own), renderMarkdown(own)]) {
    assert.match(
      text,
      /no verdict on new: these images are in the training set of new, some of these images are in the\s+training set\s+of\s+old/,
    );
    assert.match(text, /withheld/);
    assert.doesNotMatch(text, /no model was trained on/);
  }
  const [comparison] = own.candidates[0]!.comparisons;
  assert.equal(comparison!.criterion, 'withheld');
  assert.ok(Number.isFinite(comparison!.difference.low), 'the numbers stay');

  // the old model saw other images of these classes, the new one these
  const late = await evaluateOn(await extract('old', 'late'), await extract('new', 'late'));
  assert.match(
    renderMarkdown(late),
    /240 images of 120 classes in 2 families\. old: trained on 120 of these classes, on other images; new: trained on these images\./,
  );
  assert.match(renderMarkdown(late), /no verdict on new: these images are in the training set of new\./);

  // both saw other images of these classes: a verdict with a caution
  const open = await evaluateOn(at('old-on-late'), at('old-on-late'));
  assert.match(
    renderMarkdown(open),
    /new: no difference .*; caution: old was trained on 120 of these 120 classes; caution: new/,
  );

  const trial = await evaluateOn(oldEval, newEval, true);
  assert.match(renderMarkdown(trial), /no verdict on new: a trial run shows that every stage works/);

  // a feature set as 0.3.0 wrote it
  const manifest = join(newEval, MANIFEST);
  const { dataset, model, ...rest } = JSON.parse(readFileSync(manifest, 'utf8'));
  delete dataset.origin;
  delete model.trainedOn;
  writeFileSync(manifest, JSON.stringify({ ...rest, dataset, model }));
  const earlier = await evaluateOn(oldEval, newEval);
  assert.match(renderMarkdown(earlier), / old: not trained on these classes; new: training data unknown\./);
  assert.ok(earlier.candidates[0]!.comparisons.every(({ criterion }) => criterion !== 'withheld'));
});

test('an experiment says how much is compared, and by how much memory; a refusal names the setting', async (t) => {
  const { at, extract } = await world(t);
  const [old, fresh] = [await extract('old', 'eval'), await extract('new', 'eval')];
  const judge = (settings: string, force = false) => {
    writeFileSync(
      at('x.yaml'),
      `title: x\nstages:\n  judge: { do: evaluate, old: ${old}, new: { new: ${fresh} }, resamples: 10, ${settings} }\n`,
    );
    return runExperiment(at('x.yaml'), { out: at('out'), dataFolder: at('data'), workers: 0, force });
  };
  await assert.rejects(judge('memory: 0.1'), /it may take 0\.10 GB\n.*--force --set stages\.STAGE\.memory=1/);
  const { places } = await judge('memory: 4, genuines: 50, impostors: 500, probes: 20, maxZeroShare: 0.5', true);
  const { protocol } = readEvaluation(places['judge']!);
  assert.deepEqual([protocol.genuinePairs, protocol.impostorPairs, protocol.probes], [50, 500, 20]);
});

test('sets of other images are refused, also beside a set of unknown origin', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  for (const [name, side] of [
    ['one', 16],
    ['other', 17],
  ] as const) {
    await writeTinySet(at(name), { perClass: [4, 4, 4], families: 4, side });
    using dataset = openDataset(at(name));
    const { encoder } = recordingEncoder();
    for (const digest of ['first', 'second'])
      await extractFeatures(dataset, { ...encoder, name: digest, digest }, { out: at(`${digest}-on-${name}`) });
  }
  const [known, other] = [at('first-on-one'), at('first-on-other')];
  const arrays = { features: join(known, 'features.npy'), labels: join(known, 'labels.npy') };
  await importNpy(arrays, at('foreign'));
  const evaluateAll = (old: string, features: string, more: { oracle?: string; inOldSpace?: string } = {}) =>
    evaluateSets({
      title: '',
      old,
      oracle: more.oracle,
      candidates: [{ name: 'new', features, ...(more.inOldSpace && { inOldSpace: more.inOldSpace }) }],
      seed: 0,
      resamples: 10,
      out: at('out'),
      force: true,
    });
  await assert.rejects(evaluateAll(known, other), /are not embeddings of the same images/);
  const foreign = await evaluateAll(at('foreign'), known);
  assert.equal(foreign.dataset.families, 4, 'families are those of the set that knows them');
  using set = FeatureSet.open(known);
  assert.equal(foreign.dataset.digest, set.info.dataset!.digest);
  assert.match(renderMarkdown(foreign), /12 images of 3 classes in 4 families\. Whether a model was trained on/);
  // the same labels beside other families, or other ids
  writeNpy(at('families.npy'), '<i4', set.families().toReversed());
  await importNpy({ ...arrays, families: at('families.npy') }, at('other-families'));
  for (const name of ['a', 'b']) {
    writeIds(
      idsPath(at('one')),
      Array.from({ length: 12 }, (_, i) => `${name}/${i}`),
    );
    using dataset = openDataset(at('one'));
    await extractFeatures(dataset, recordingEncoder().encoder, { out: at(name) });
  }
  for (const [old, fresh] of [
    [known, at('other-families')],
    [at('a'), at('b')],
  ] as const)
    await assert.rejects(evaluateAll(old, fresh), /are not embeddings of the same images/);
  await evaluateAll(known, at('a'));
  await assert.rejects(
    evaluateAll(at('foreign'), other, { oracle: known }),
    /first-on-other .* are not embeddings of the same images/,
  );
  await assert.rejects(
    evaluateAll(at('foreign'), known, { inOldSpace: at('second-on-one') }),
    /second-on-one \(model second\) does not hold the projected embeddings of .*first-on-one \(model first\)/,
  );
});
