import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { gap } from '../../test/helpers/formula.ts';
import { unitRows } from '../../test/helpers/paired-rows.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { Adapter, adapterFile } from '../adapt/index.ts';
import { slerpRows } from '../adapt/slerp.ts';
import { digestOf } from '../artifacts/digest.ts';
import { readJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { Rng } from '../base/rng.ts';
import { pairOf, thresholdsOf, unitEmbeddings } from '../eval/index.ts';
import { FeatureSet, writeFeatureSet } from '../features/index.ts';
import { describePath } from '../info/describe.ts';
import { renderTerminal } from '../report/terminal.ts';
import { applyAdapter, type FitAdapterOptions, writeAdapter } from './adapt.ts';
import { evaluateSets } from './evaluate-sets.ts';

const [CLASSES, IMAGES, DIM] = [120, 6, 16];
const COUNT = CLASSES * IMAGES;
const labels = Int32Array.from({ length: COUNT }, (_, i) => Math.floor(i / IMAGES));

/** Rows of classes around their centres, by a model that sees them with noise. */
function embeddings(rng: Rng, noise: number): Float32Array {
  const centres = unitRows(CLASSES, DIM, new Rng('centres'));
  const noises = unitRows(COUNT, DIM, rng);
  return noises.map((value, i) => centres[labels[Math.floor(i / DIM)]! * DIM + (i % DIM)]! + noise * value);
}

/** The dimensions in another order and with other signs: a rotation; `dim` above 16 appends zeros. */
const turned = (rows: Float32Array, dim = DIM): Float32Array =>
  Float32Array.from({ length: COUNT * dim }, (_, i) => {
    const [row, d] = [Math.floor(i / dim), i % dim];
    return d < DIM ? (d % 2 === 0 ? 1 : -1) * rows[row * DIM + ((d + 5) % DIM)]! : 0;
  });

type SetOptions = {
  readonly dim?: number;
  readonly data?: string | null;
  readonly missing?: number;
  readonly digest?: string;
};

/** `old` sees classes with noise and turned, `new` clearly; `old-eval` and `new-eval` are other images of them, to judge by. */
async function world(t: TestContext) {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const write = async (
    name: string,
    model: string | null,
    rows: Float32Array,
    { dim = DIM, data = 'images', missing, digest = `digest of ${model}` }: SetOptions = {},
  ) => {
    const dataset = data === null ? null : { path: data, digest: data, count: COUNT, classes: CLASSES };
    const content = {
      ...{ dim, classes: CLASSES, labels, families: new Int32Array(COUNT).fill(-1), flip: 'none' as const, dataset },
      model: model === null ? null : { name: model, digest, preset: 'default', differences: [], trainedOn: null },
    };
    await writeFeatureSet(at(name), content, {}, ({ append, markMissing }) => {
      if (missing !== undefined) rows.fill(0, missing * dim, (missing + 1) * dim);
      append(rows);
      if (missing !== undefined) markMissing([{ row: missing, id: `${missing}`, problem: 'unreadable' }]);
    });
    return at(name);
  };
  const clear = embeddings(new Rng('new'), 0.4);
  await write('old', 'a', turned(embeddings(new Rng('old'), 1)), { missing: 7 });
  await write('new', 'b', clear);
  await write('old-eval', 'a', turned(embeddings(new Rng('old-eval'), 1)), { missing: 7, data: 'other' });
  await write('new-eval', 'b', embeddings(new Rng('new-eval'), 0.4), { data: 'other' });
  const fit = (out: string, options: Partial<FitAdapterOptions> = {}) =>
    writeAdapter({
      ...{ old: at('old'), new: at('new'), direction: 'query', out: at(out), metric: 'rank-1', resamples: 100 },
      ...options,
    });
  const judge = (candidates: Parameters<typeof evaluateSets>[0]['candidates'], old = at('old')) =>
    evaluateSets({ title: '', old, candidates, seed: 0, resamples: 100, out: at('judged'), force: true });
  return { at, write, fit, judge, clear };
}

test('both directions: the adapter that is chosen beats the old model, on the images it is applied to as well', async (t) => {
  const { at, fit, judge } = await world(t);
  for (const direction of ['query', 'gallery'] as const) {
    const candidates = ['identity', 'procrustes', 'ridge', 'low-rank'] as const;
    const info = await fit(direction, { direction, candidates });
    assert.notEqual(info.method, 'identity');
    assert.ok(info.beatsOld && info.test.difference.low > 0);
    assert.deepEqual(info.identities, { fit: 72, choose: 24, test: 24 });
    assert.deepEqual(
      info.chosenBy.candidates.map(({ method }) => method),
      candidates,
    );
    const source = at(direction === 'query' ? 'new-eval' : 'old-eval');
    await applyAdapter({ adapter: at(direction), features: source, out: at(`${direction}-mapped`) });
    const ofBoth = [
      { name: 'mapped', features: at('new-eval'), inOldSpace: at(`${direction}-mapped`) },
      { name: 'adapter', features: at('new-eval'), adapter: at(direction) },
    ];
    const evaluation = await judge(ofBoth, at('old-eval'));
    const [mapped, adapter] = evaluation.candidates.map(
      ({ comparisons }) => comparisons.find(({ metric }) => metric === 'rank-1')!,
    );
    assert.equal(mapped!.criterion, 'met', direction);
    for (const { name, adapter: crossing } of evaluation.models)
      assert.deepEqual(
        crossing,
        name === 'old' ? undefined : { direction, method: info.method, digest: info.digest },
        'the evaluation names the adapter of each model',
      );
    assert.deepEqual(mapped, adapter, 'features that were mapped, and an adapter that maps them');
    const described = await describePath(at(direction));
    assert.match(String(described.facts['direction']), direction === 'query' ? /new → old space/ : /old → new space/);
    const { facts, sources } = await describePath(at(`${direction}-mapped`));
    assert.equal(facts['adapter'], `${info.method}, for the ${direction}`);
    assert.equal(sources.find(({ kind }) => kind === 'adapter')!.path, at(direction));
  }
  using gallery = FeatureSet.open(at('gallery-mapped'));
  assert.deepEqual([...gallery.missing()], [7], 'rows without an embedding stay so');
  assert.ok(gallery.rows([7]).every((value) => value === 0));
  assert.ok(gallery.rows([8]).some((value) => value !== 0));
});

test('spaces of unequal dimensions are bridged in both directions, and the identity is refused there', async (t) => {
  const { at, write, fit, judge } = await world(t);
  await write('wide-old', 'wide', turned(embeddings(new Rng('old'), 1), 20), { dim: 20 });
  await write('wide-eval', 'wide', turned(embeddings(new Rng('old-eval'), 1), 20), { dim: 20, data: 'other' });
  for (const direction of ['query', 'gallery'] as const) {
    const info = await fit(direction, { old: at('wide-old'), direction, candidates: ['procrustes'] });
    assert.ok(info.beatsOld);
    const adapter = { name: 'a', features: at('new-eval'), adapter: at(direction) };
    const { candidates } = await judge([adapter], at('wide-eval'));
    assert.equal(candidates[0]!.comparisons.find(({ metric }) => metric === 'rank-1')!.criterion, 'met');
  }
  await assert.rejects(
    fit('x', { old: at('wide-old'), candidates: ['identity'] }),
    /identity cannot map 16 dimensions to 20/,
  );
});

test('there is no verdict on an adapter by images that it was fitted on, whichever way it is named', async (t) => {
  const { at, write, fit, judge } = await world(t);
  await fit('query', { candidates: ['procrustes'] });
  await applyAdapter({ adapter: at('query'), features: at('new'), out: at('mapped') });
  const evaluation = await judge([
    { name: 'adapter', features: at('new'), adapter: at('query') },
    { name: 'pair', features: at('new'), inOldSpace: at('mapped') },
    { name: 'mapped', features: at('mapped') },
    { name: 'plain', features: at('new') },
  ]);
  assert.deepEqual(
    evaluation.candidates.map(({ withheld }) => withheld?.reason),
    ['training images', 'training images', 'training images', undefined],
  );
  assert.match(renderTerminal(evaluation), /no verdict on pair: its adapter was fitted on images of this set/);
  // a set that says less of its adapter, as earlier ones do; and features of images that no data set names
  const manifest = join(at('mapped'), MANIFEST);
  const { adapter, ...rest } = readJson(manifest) as { readonly adapter: Record<string, unknown> };
  const { fittedOn, ...earlier } = adapter;
  assert.deepEqual(fittedOn, { dataset: { path: 'images', digest: 'images', count: COUNT, classes: CLASSES }, features: ['old', 'new'].map((name) => { using set = FeatureSet.open(at(name)); return set.digest; }) }); // biome-ignore format: short
  writeFileSync(manifest, JSON.stringify({ ...rest, adapter: earlier }));
  assert.equal((await judge([{ name: 'mapped', features: at('mapped') }])).candidates[0]!.withheld, undefined);
  await write('outside-old', 'a', turned(embeddings(new Rng('old'), 1)), { data: null });
  await write('outside-new', 'b', embeddings(new Rng('new'), 0.4), { data: null });
  await fit('outside', { old: at('outside-old'), new: at('outside-new'), candidates: ['procrustes'] });
  const outside = { name: 'outside', features: at('outside-new'), adapter: at('outside') };
  const judged = await judge([outside], at('outside-old'));
  assert.deepEqual(judged.candidates[0]!.withheld, { reason: 'training images' });
});

test('thresholds tell queries through a projection or an adapter from those of the model as it is', async (t) => {
  const { at, write, fit, judge } = await world(t);
  const [plain, projected] = ['digest of b', digestOf('digest of b', 'old')];
  await write('projected', 'projected', turned(embeddings(new Rng('new-eval'), 0.4)), {
    data: 'other',
    digest: projected,
  });
  await fit('query', { candidates: ['procrustes'] });
  const evaluation = await judge(
    [
      { name: 'projects', features: at('new-eval'), inOldSpace: at('projected') },
      { name: 'adapted', features: at('new-eval'), adapter: at('query') },
    ],
    at('old-eval'),
  );
  const thresholds = thresholdsOf([{ path: 'judged', evaluation }]);
  using adapter = Adapter.open(at('query'));
  const named = (digest: string, through?: Adapter) =>
    pairOf(thresholds, { query: { digest }, gallery: { digest: 'digest of a' }, adapter: through?.applied() })?.query;
  assert.deepEqual([plain, projected].map((digest) => named(digest)), [undefined, 'projects']); // biome-ignore format: short
  assert.deepEqual([named(plain, adapter), named(projected, adapter)], ['adapted', undefined]);
  for (const query of ['projects', 'adapted'])
    assert.equal(pairOf(thresholds, { query: { name: query }, gallery: { name: 'old' } })?.query, query);
});

test('a planted rotation and a planted linear map with noise are recovered through the files, in both directions', async (t) => {
  const { at, write, fit } = await world(t);
  // the old model is the new one turned into 20 dimensions, and with noise of 0.02 a row
  await write('turned', 'exact', turned(embeddings(new Rng('new'), 0.4), 20), { dim: 20 });
  const noise = unitRows(COUNT * 2, 10, new Rng('noise'));
  const noisy = turned(embeddings(new Rng('new'), 0.4), 20).map((value, i) => value + 0.02 * noise[i]!);
  await write('noisy', 'noisy', noisy, { dim: 20 });
  for (const [old, method, least] of [
    ['turned', 'procrustes', 1 - EXACT],
    ['turned', 'ridge', 1 - EXACT],
    ['noisy', 'ridge', 0.999],
    ['noisy', 'low-rank', 0.999],
  ] as const)
    for (const direction of ['query', 'gallery'] as const) {
      const out = `${old}-${method}-${direction}`;
      await fit(out, { old: at(old), direction, candidates: [method], allowWorse: true });
      const [source, target] = direction === 'query' ? ['new', old] : [old, 'new'];
      await applyAdapter({ adapter: at(out), features: at(source), out: at(`${out}-mapped`) });
      using mapped = FeatureSet.open(at(`${out}-mapped`));
      using wanted = FeatureSet.open(at(target));
      const cosines = rowCosines(mapped, wanted);
      assert.ok(Math.min(...cosines) > least, `${out}: ${Math.min(...cosines)}, wanted above ${least}`);
    }
});
/** Rows are float32. */
const EXACT = 1e-6;

function rowCosines(a: FeatureSet, b: FeatureSet): number[] {
  const unit = (set: FeatureSet) => unitEmbeddings(set.block(0, set.info.count), set.info.dim, set.path).rows;
  const [x, y, dim] = [unit(a), unit(b), a.info.dim];
  return Array.from({ length: a.info.count }, (_, i) =>
    x.subarray(i * dim, (i + 1) * dim).reduce((sum, value, d) => sum + value * y[i * dim + d]!, 0),
  );
}

/** A new model whose embeddings lie in the old space, where an adapter can add to them. */
async function compatibleWorld(t: TestContext) {
  const made = await world(t);
  const bent = turned(made.clear).map((value, i) => value + 0.9 * made.clear[i]!);
  await made.write('compatible', 'd', bent);
  return { ...made, compatible: made.at('compatible') };
}

test('blending goes part of the way from compatible queries to adapted ones, as far as held-out identities say', async (t) => {
  const { at, fit, judge, compatible } = await compatibleWorld(t);
  const options = { new: compatible, metric: 'TAR@FAR=1e-3', allowWorse: true } as const;
  const chosenValue = async (out: string, more: Partial<FitAdapterOptions>): Promise<number> =>
    (await fit(out, { ...options, ...more })).chosenBy.candidates[0]!.value;
  const [asIs, whole] = [
    await chosenValue('as-is', { candidates: ['identity'] }),
    await chosenValue('whole', { candidates: ['procrustes'] }),
  ];
  const info = await fit('blended', { ...options, candidates: ['identity', 'procrustes'], blend: true });
  const [first, second] = info.chosenBy.candidates;
  assert.deepEqual([first!.value, first!.blend], [asIs, undefined]);
  const { blend } = info;
  assert.ok(info.method === 'procrustes' && blend !== undefined && blend > 0 && blend < 1, `blend ${blend}`);
  assert.equal(second!.blend, blend);
  assert.ok(second!.value > Math.max(asIs, whole), `${second!.value}, ends ${asIs} and ${whole}`);
  assert.match(String((await describePath(at('blended'))).facts['method']), new RegExp(`procrustes, blend ${blend}$`));

  // applied rows lie that far on the way to those of the same map without blending
  using set = FeatureSet.open(compatible);
  const rows = set.block(0, set.info.count);
  using adapter = Adapter.open(at('blended'));
  const manifest = JSON.parse(readFileSync(at('blended/manifest.json'), 'utf8'));
  const { blend: _, ...plain } = manifest;
  writeFileSync(at('blended/manifest.json'), JSON.stringify(plain));
  using map = Adapter.open(at('blended'));
  writeFileSync(at('blended/manifest.json'), JSON.stringify(manifest));
  const wanted = slerpRows(rows, map.map(rows, ''), { share: blend, dim: DIM });
  assert.ok(gap(adapter.map(rows, ''), wanted) < EXACT);
  const named = { name: 'd', digest: 'd' };
  assert.notEqual(adapter.modelThrough(named).digest, map.modelThrough(named).digest, 'models of two spaces');

  // features that were mapped, and the adapter in an evaluation, are the same queries
  await applyAdapter({ adapter: at('blended'), features: compatible, out: at('mapped') });
  const { candidates } = await judge([
    { name: 'mapped', features: compatible, inOldSpace: at('mapped') },
    { name: 'adapter', features: compatible, adapter: at('blended') },
  ]);
  assert.deepEqual(candidates[0]!.comparisons, candidates[1]!.comparisons);
  assert.equal((await describePath(at('mapped'))).facts['adapter'], `procrustes, blend ${blend}, for the query`);
});

test('blending is refused for a gallery and between unequal dimensions, in a manifest too', async (t) => {
  const { at, write, fit } = await world(t);
  await assert.rejects(fit('x', { direction: 'gallery', blend: true }), /got an adapter for the gallery/);
  await write('wide', 'wide', turned(embeddings(new Rng('old'), 1), 20), { dim: 20 });
  await assert.rejects(fit('x', { old: at('wide'), blend: true }), /got queries of 16 dimensions and a gallery of 20/);
  await fit('wide-query', { old: at('wide'), candidates: ['procrustes'] });
  const path = at('wide-query/manifest.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...manifest, blend: 0.5 }));
  assert.throws(() => Adapter.open(at('wide-query')), /blend/);
  writeFileSync(path, JSON.stringify({ ...manifest, blend: 1.5 }));
  assert.throws(() => Adapter.open(at('wide-query')), /"blend" is damaged/);
});

test('an adapter that does not beat the old model is written only if that is allowed, and says so', async (t) => {
  const { at, write, fit } = await world(t);
  await write('useless', 'useless', unitRows(COUNT, DIM, new Rng('useless')));
  const options = { new: at('useless'), candidates: ['procrustes', 'ridge'] } as const;
  await assert.rejects(
    fit('gated', options),
    /no adapter beats the old model; the best of those tried is \S+: rank-1 0\./,
  );
  await assert.rejects(describePath(at('gated')), /no such file/);
  const reports = reportsOf(t);
  const { beatsOld, test: result } = await fit('gated', { ...options, allowWorse: true });
  assert.ok(!beatsOld && result.difference.low <= 0);
  assert.match(reports.text(), /gated is written, but does not beat the old model/);
  assert.match(String((await describePath(at('gated'))).facts['verdict']), /does not beat the old model/);
});

test('reversed adapters, foreign models of equal dimension, and sets of other data are refused', async (t) => {
  const { at, write, fit, judge, clear } = await world(t);
  await write('foreign', 'c', clear);
  await write('elsewhere', 'b', clear, { data: 'other' });
  await write('unnamed', null, clear);
  await assert.rejects(fit('x', { new: at('elsewhere') }), /are not embeddings of the same images/);
  await assert.rejects(fit('x', { new: at('old') }), /are features of one model/);
  for (const direction of ['query', 'gallery'] as const)
    await fit(direction, { direction, candidates: ['procrustes'] });
  const apply = (adapter: string, features: string) =>
    applyAdapter({ adapter: at(adapter), features: at(features), out: at('mapped'), force: true });
  await assert.rejects(apply('query', 'old'), { message: /maps features of the new model \(b .*holds others \(a / });
  await assert.rejects(apply('gallery', 'new'), /maps features of the old model/);
  for (const features of ['foreign', 'unnamed']) await assert.rejects(apply('query', features), /holds others/);
  await apply('query', 'new');
  await assert.rejects(apply('query', 'mapped'), /holds others/);
  await assert.rejects(fit('x', { new: at('mapped') }), /went through an adapter/);
  // an evaluation refuses it in any place but its own
  const pair = { name: 'x', features: at('new'), inOldSpace: at('mapped') };
  await judge([pair]);
  await judge([{ name: 'x', features: at('mapped') }]);
  await assert.rejects(judge([{ ...pair, adapter: at('query') }]), /wanted one way for new queries to meet old rows/);
  await assert.rejects(judge([{ ...pair, features: at('foreign') }]), /between other models/);
  await assert.rejects(judge([pair], at('foreign')), /between other models/);
  await assert.rejects(judge([pair], at('mapped')), /wanted features of the old model in its own space/);
  await assert.rejects(judge([{ name: 'x', features: at('foreign'), adapter: at('query') }]), /holds others/);
  await assert.rejects(
    judge([{ name: 'x', features: at('new'), adapter: at('query') }], at('foreign')),
    /does not map into the space/,
  );
  await applyAdapter({ adapter: at('gallery'), features: at('old'), out: at('rewritten') });
  await assert.rejects(judge([{ name: 'x', features: at('rewritten') }]), /wanted features of the new model/);
});

test('a damaged adapter and one whose manifest tells other sizes are refused', async (t) => {
  const { at, fit } = await world(t);
  await fit('query', { candidates: ['ridge'] });
  const manifest = JSON.parse(readFileSync(at('query/manifest.json'), 'utf8'));
  writeFileSync(at('query/manifest.json'), JSON.stringify({ ...manifest, new: { ...manifest.new, dim: 12 } }));
  assert.throws(
    () => Adapter.open(at('query')),
    /holds bias \[16\], weight \[16, 16\], wanted bias \[16\], weight \[16, 12\]/,
  );
  writeFileSync(at('query/manifest.json'), JSON.stringify(manifest));
  const bytes = readFileSync(adapterFile(at('query')));
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(adapterFile(at('query')), bytes);
  assert.throws(() => Adapter.open(at('query')), /adapter\.safetensors/);
});

test('too few identities and an unknown metric are refused', async (t) => {
  const { at, fit } = await world(t);
  await assert.rejects(fit('x', { metric: 'rank-2' }), /metric rank-2: wanted one of TAR@FAR=1e-3/);
  const few = Int32Array.from({ length: 38 }, (_, i) => i % 19);
  for (const [name, seed] of [
    ['few-old', 1],
    ['few-new', 2],
  ] as const)
    await writeFeatureSet(
      at(name),
      { dim: 4, classes: 19, labels: few, families: few.map(() => -1), flip: 'none', dataset: null, model: null },
      {},
      ({ append }) => append(unitRows(38, 4, new Rng(seed))),
    );
  await assert.rejects(fit('x', { old: at('few-old'), new: at('few-new') }), /19 identities .*wanted at least 20/);
});
