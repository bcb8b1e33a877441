// Every method in the trainer: what it needs, resuming, projections, features of any origin.
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { lastReport, type OldSide, sharedSet, trained, weights } from '../../test/helpers/runs.ts';
import { digestOf } from '../artifacts/digest.ts';
import { Interrupted } from '../base/errors.ts';
import type { Dataset } from '../data/index.ts';
import { extractFeatures, FeatureSet, importNpy, writeNpy } from '../features/index.ts';
import { loadModel } from '../runs/load-model.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { liveTensors, readSafetensors, scope, setThreads, toNumbers } from '../torch/index.ts';
import { openOldModelInputs } from './old-model-inputs.ts';
import type { TrainingState } from './trainer-hook.ts';

before(() => setThreads(1));

const shared = sharedSet();

/** A recipe's part for an old model of fewer dimensions, whose embeddings are a slice of the new ones. */
const sliced = { network: { ...tinyRecipe().network, embeddingDim: 12 }, projection: { dim: 8, orthonormal: true } };

/** For each method a section that makes all of it act within two epochs of six steps, what it takes, and other changes. */
const methods: Readonly<
  Record<string, readonly [section: object, takes: readonly (keyof OldSide)[], changes?: object]>
> = {
  mixbct: [{ ratio: 0.4 }, ['features', 'credible']],
  l2: [{ threshold: 0.2 }, ['features']],
  bct: [{}, ['prototypes']],
  unibct: [{ startEpoch: 1, refreshEpochs: [1] }, ['features']],
  nccl: [{ queueSize: 20 }, ['features', 'credible']],
  advbct: [{ hidden: 6 }, ['features', 'boundaries']],
  lce: [{}, ['boundaries']],
  ract: [{}, ['features']],
  bt2: [{}, ['features', 'prototypes'], sliced],
  hoc: [{}, ['features'], { head: { kind: 'simplex', firstVertex: 1 } }],
  pairs: [{ queueSize: 20 }, ['features']],
  joint: [{}, ['features']],
  ndpp: [{ neighbours: 3 }, ['prototypes']],
};
/** Two compositions with a queue, a discriminator, replaced rows and renewed prototypes; their inputs are those of the parts. */
const compositions = ['mixbct+nccl+bct', 'l2+unibct+advbct', 'lce+ract'];
const partSection = (kind: string): object => ({ kind, ...methods[kind]![0] });
const sectionOf = (kinds: string): object =>
  kinds.includes('+') ? { kind: 'compose', of: kinds.split('+').map(partSection) } : partSection(kinds);
const changesOf = (kinds: string): Record<string, unknown> => ({
  method: sectionOf(kinds),
  epochs: 2,
  ...methods[kinds]?.[2],
});
const pathsOf = (kinds: string, side: OldSide): Partial<OldSide> =>
  Object.fromEntries(kinds.split('+').flatMap((kind) => methods[kind]![1].map((what) => [what, side[what]])));

/** Every number of a trained backbone. */
function numbersOf(out: string): number[][] {
  const model = loadModel(out);
  const numbers = [...model.backbone.state()].map(([, value]) => toNumbers(value));
  model.dispose();
  return numbers;
}

/** A supply that fires an abort at a step. */
function abortingAt(step: number, recipe: object, paths: Partial<OldSide>, dataset: Dataset) {
  const controller = new AbortController();
  const supply = openOldModelInputs(tinyRecipe(recipe as Record<string, unknown>), paths, dataset);
  let steps = 0;
  const forBatch = (indices: Int32Array) => {
    if (++steps === step) controller.abort();
    return supply.forBatch(indices);
  };
  return { old: { ...supply, forBatch }, signal: controller.signal, supply };
}

test('every method and composition trains, leaves no tensor behind, and goes on from any step to the same bytes', async () => {
  const { folder, dataset, side } = await shared();
  for (const kind of [...Object.keys(methods).filter((kind) => !['lce', 'ract'].includes(kind)), ...compositions]) {
    const paths = pathsOf(kind, side);
    const changes = changesOf(kind);
    const [whole, cut] = [join(folder, `${kind}-whole`), join(folder, `${kind}-cut`)];
    const before = liveTensors();
    await trained(dataset, whole, changes, { paths });
    assert.equal(liveTensors(), before, `${kind} left tensors`);
    const { terms } = lastReport(whole);
    assert.ok(Object.values(terms).every(Number.isFinite), kind);
    // in the middle of an epoch, and at the very end of one, where prototypes are to be renewed next
    for (const step of ['unibct', 'ndpp'].includes(kind) || kind.includes('+') ? [9, 6] : [9]) {
      const { old, signal, supply } = abortingAt(step, changes, paths, dataset);
      await assert.rejects(trained(dataset, cut, changes, { paths, old, signal }), Interrupted);
      supply[Symbol.dispose]();
      await trained(dataset, cut, changes, { paths, resume: true });
      assert.deepEqual(weights(cut), weights(whole), `${kind}, cut at ${step}`);
      rmSync(cut, { recursive: true });
    }
  }
});

test('every kind of backbone trains; remembering less changes no byte of what comes out', async () => {
  const { folder, dataset, side } = await shared();
  const paths = { features: side.features, credible: side.credible };
  const kinds = { r18: {}, mbf: {}, vit_t: { dropPath: 0.3, maskRatio: 0.4 } };
  for (const [name, own] of Object.entries(kinds)) {
    const outs = [0, 1].map((checkpointEvery) => {
      const network = { name, embeddingDim: 8, inputSide: 32, width: 1 / 32, checkpointEvery, ...own };
      return {
        out: join(folder, `${name}-${checkpointEvery}`),
        changes: { network, method: sectionOf('mixbct'), epochs: 1 },
      };
    });
    const before = liveTensors();
    for (const { out, changes } of outs) await trained(dataset, out, changes, { paths });
    assert.equal(liveTensors(), before, `${name} left tensors`);
    // the files name their recipe, so that the digests differ; the weights do not
    const [plain, saving] = outs.map(({ out }) => numbersOf(out));
    assert.deepEqual(saving, plain, name);
  }
});

test('a method gets its needs and wants, and refuses what it does not use', async () => {
  const { dataset, side } = await shared();
  const open = (kind: string, paths: Partial<OldSide>) =>
    openOldModelInputs(tinyRecipe(changesOf(kind)), paths, dataset)[Symbol.dispose]();
  for (const kind of [...Object.keys(methods), ...compositions]) open(kind, pathsOf(kind, side));
  open('nccl', { features: side.features });
  assert.throws(() => open('bct', { features: side.features }), /bct needs old-prototypes\n.*mixbct average/);
  assert.throws(() => open('advbct', { features: side.features }), /advbct needs old-boundaries\n.*mixbct boundaries/);
  assert.throws(() => open('l2+bct', { features: side.features }), /l2 \+ bct needs old-prototypes\n.*mixbct average/);
  assert.throws(() => open('bct', side), /bct does not use old-features/);
});

test('projections of one frozen backbone are different models; a projection that was replaced is refused', async () => {
  const { folder, dataset, side } = await shared();
  const network = { ...tinyRecipe().network, embeddingDim: 12 };
  const changes = { network, method: { kind: 'l2' }, projection: { dim: 8 }, epochs: 1 };
  const train = async (name: string, more: Record<string, unknown> = {}) =>
    await trained(dataset, join(folder, name), { ...changes, ...more }, { paths: { features: side.features } });
  await train('thawed');
  const at = (name: string) => runFiles(join(folder, name));
  const names = scope(() => [...readSafetensors(at('thawed').model).tensors.keys()]);
  const parts = names.map((name) => name.split('.', 1)[0]!);
  const frozen = { init: { from: join(folder, 'thawed') }, freeze: [...new Set(parts)] };
  const [one, other] = [await train('one', { ...frozen, seed: 1 }), await train('other', { ...frozen, seed: 2 })];
  assert.equal(one.weights, other.weights, 'the same backbone');
  assert.notEqual(one.projection, other.projection);
  assert.notEqual(one.model, other.model);
  copyFileSync(at('other').projection, at('one').projection);
  await assert.rejects(
    openEncoder(join(folder, 'one'), { space: 'old' }),
    /projection\.safetensors: was changed or damaged/,
  );
  // a manifest of an earlier release does not record it
  const manifest = join(folder, 'one', 'manifest.json');
  const { projection: _, weights: backbone, ...older } = JSON.parse(readFileSync(manifest, 'utf8'));
  writeFileSync(manifest, JSON.stringify({ ...older, model: backbone }));
  using encoder = await openEncoder(join(folder, 'one'), { space: 'old' });
  assert.equal(encoder.digest, digestOf(backbone, 'old'));
});

test('a projection leads from a new dimension to the old one: trained, stored, embedded through', async () => {
  const { folder, dataset, side } = await shared();
  const network = { ...tinyRecipe().network, embeddingDim: 12 };
  for (const kind of ['l2', 'bct', 'unibct', 'nccl', 'advbct', 'lce', 'ract', 'l2+bct', 'bt2', 'joint', 'ndpp']) {
    const section = { ...sectionOf(kind), ...(kind === 'nccl' && { beta: 0 }) };
    const projection = { dim: 8, orthonormal: kind === 'bt2' };
    const out = join(folder, kind);
    await trained(dataset, out, { network, method: section, projection, epochs: 2 }, { paths: pathsOf(kind, side) });
    for (const [space, dim] of [
      ['own', 12],
      ['old', 8],
    ] as const) {
      const features = join(folder, `${kind}-${space}`);
      using encoder = await openEncoder(out, { space });
      const info = await extractFeatures(dataset, encoder, { out: features });
      assert.equal(info.dim, dim, `${kind} ${space}`);
    }
  }
  const [own, old] = ['l2-own', 'l2-old'].map((name) => FeatureSet.open(join(folder, name)));
  assert.notEqual(own!.info.model!.digest, old!.info.model!.digest, 'two spaces are told apart');
  own!.close();
  old!.close();
  await assert.rejects(openEncoder(join(folder, 'old'), { space: 'old' }), /has no projection/);
  assert.throws(
    () => openOldModelInputs(tinyRecipe({ network, method: { kind: 'l2' } }), { features: side.features }, dataset),
    /8 dimensions, the new model makes 12\n.*projection: \{ dim: 8 \}/,
  );
  const narrow = { ...network, embeddingDim: 6 };
  assert.throws(
    () =>
      openOldModelInputs(
        tinyRecipe({ network: narrow, method: { kind: 'l2' }, projection: { dim: 5, orthonormal: true } }),
        { features: side.features },
        dataset,
      ),
    /8 dimensions, the new model projects to 5\n.*set projection\.dim to 8 and network\.embeddingDim to 8 or more/,
  );
  assert.throws(
    () =>
      openOldModelInputs(
        tinyRecipe({ network, method: { kind: 'l2' }, projection: { dim: 5, orthonormal: true } }),
        { features: side.features },
        dataset,
      ),
    /projects to 5\n.*set projection\.dim to 8$/,
  );
  await assert.rejects(
    trained(
      dataset,
      join(folder, 'x'),
      { network, method: { kind: 'nccl' }, projection: { dim: 8 } },
      { paths: { features: side.features } },
    ),
    /set beta of nccl to 0/,
  );
});

test('a composition of one method is that method, to the last byte', async () => {
  const { folder, dataset, side } = await shared();
  for (const kind of ['mixbct', 'l2', 'bct', 'unibct', 'nccl', 'advbct']) {
    const paths = pathsOf(kind, side);
    const [plain, composed] = [join(folder, `${kind}-plain`), join(folder, `${kind}-composed`)];
    const changes = changesOf(kind);
    await trained(dataset, plain, changes, { paths });
    await trained(dataset, composed, { ...changes, method: { kind: 'compose', of: [sectionOf(kind)] } }, { paths });
    assert.deepEqual(numbersOf(composed), numbersOf(plain), kind);
    assert.equal(lastReport(composed).loss, lastReport(plain).loss, kind);
  }
});

test('old features may come from anywhere, as long as they are of this dataset', async () => {
  const { folder, dataset, side } = await shared();
  using made = FeatureSet.open(side.features);
  const at = (name: string): string => join(folder, name);
  writeNpy(at('f.npy'), '<f4', made.all(), [8]);
  writeNpy(at('l.npy'), '<i8', BigInt64Array.from(made.labels(), BigInt));
  const npy = { features: at('f.npy'), labels: at('l.npy') };
  await importNpy(npy, at('foreign'));
  await importNpy({ ...npy, dataset: dataset.path }, at('foreign-bound'));
  const changes = { method: { kind: 'l2' }, epochs: 1 };
  await trained(dataset, at('a'), changes, { paths: { features: side.features } });
  for (const name of ['foreign', 'foreign-bound']) {
    await trained(dataset, at(`run-${name}`), changes, { paths: { features: at(name) } });
    assert.deepEqual(weights(at(`run-${name}`)), weights(at('a')), name);
  }
  const swapped = BigInt64Array.from(made.labels(), BigInt);
  [swapped[3], swapped[20]] = [swapped[20]!, swapped[3]!];
  writeNpy(at('l.npy'), '<i8', swapped);
  await importNpy(npy, at('swapped'));
  assert.throws(
    () => openOldModelInputs(tinyRecipe(changes), { features: at('swapped') }, dataset),
    /row 3 is of class 2, image 3 of .*set of class 0\n.*dataset order/,
  );
  await assert.rejects(
    importNpy({ ...npy, dataset: dataset.path }, at('never')),
    /l\.npy: entry 3 is class 2, image 3 of .* is of class 0/,
  );
});

test('the recipe’s preset and its differences stand in the manifest, and pretended numbers act', async () => {
  const { folder, dataset, side } = await shared();
  const paths = { prototypes: side.prototypes };
  const out = join(folder, 'run');
  const manifest = await trained(dataset, out, { preset: 'reference', method: { kind: 'bct', scale: 4 } }, { paths });
  assert.deepEqual([manifest.preset, manifest.differences], ['reference', ['D-28 method.scale: 4 (reference: 1)']]);
  assert.equal(JSON.parse(readFileSync(join(out, 'manifest.json'), 'utf8')).recipe.schedule.warmupEpochs, -1);
  const pretend = { classes: 9, images: 80 };
  await trained(dataset, out, { pretend, schedule: { kind: 'polynomial' } }, { force: true });
  const lines = readFileSync(runFiles(out).log, 'utf8').trim().split('\n');
  const lr = (line: string): number => JSON.parse(line).lr;
  assert.ok(lr(lines.at(-1)!) > lr(lines[0]!) * (1 - 18 / 30) ** 2, 'the schedule counts 10 steps an epoch, not 6');
  await assert.rejects(trained(dataset, join(folder, 'y'), { pretend: { classes: 3 } }), /has 6 classes/);
  await assert.rejects(
    trained(dataset, join(folder, 'y'), { pretend: { images: 7 } }),
    /pretend\.images 7 is less than one batch of 8: such epochs have no step/,
  );
});

test('a head that pretends to more classes leaves the old model’s tables those of the data', async () => {
  const { folder, dataset, side } = await shared();
  for (const kind of ['ndpp', 'unibct', 'bct', 'advbct', 'l2+unibct']) {
    const shapes = new Map<string, readonly number[]>();
    const onStart = ({ session: { head, method } }: TrainingState): void => {
      shapes.set('head', head.weight.shape);
      for (const [name, value] of Object.entries(method.state ?? {}))
        shapes.set(name.replace(/^.*\./, ''), value.shape);
    };
    const changes = { ...changesOf(kind), pretend: { classes: 9 } };
    const out = join(folder, `${kind}-pretends`);
    await trained(dataset, out, changes, { paths: pathsOf(kind, side), hooks: [{ onStart }] });
    assert.ok(Object.values(lastReport(out).terms).every(Number.isFinite), kind);
    assert.equal(shapes.get('head')![0], 9, kind);
    for (const table of ['prototypes', 'sums']) assert.equal(shapes.get(table)?.[0] ?? 6, 6, `${kind}: ${table}`);
    assert.equal(shapes.has('prototypes'), /ndpp|unibct/.test(kind), kind);
  }
});
