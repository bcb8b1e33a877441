import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { checkpointPath, checkpoints } from '../../test/helpers/checkpoints.ts';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { pattern } from '../../test/helpers/images.ts';
import { unitRows } from '../../test/helpers/paired-rows.ts';
import { startPostgres } from '../../test/helpers/postgres.ts';
import { Adapter } from '../adapt/index.ts';
import { Rng } from '../base/rng.ts';
import { encodePgm } from '../data/decode.ts';
import type { Calibration } from '../eval/calibration.ts';
import type { ThresholdPair } from '../eval/thresholds-schema.ts';
import { FeatureSet, writeFeatureSet } from '../features/index.ts';
import { importModel } from '../runs/import-model.ts';
import { openStore } from '../stores/open-store.ts';
import { openSqlite } from '../stores/sqlite-driver.ts';
import { writeAdapter } from './adapt.ts';
import { embedDataset } from './extract.ts';
import { describeGallery, loadGallery, stampGallery } from './galleries.ts';
import { cutOver, finishMigration, migrate } from './migrate.ts';
import { searchesAt } from './roll-out-searches.ts';
import { type GalleryHit, searchGallery } from './search.ts';

const [CLASSES, IMAGES, DIM] = [10, 4, 8];
const COUNT = CLASSES * IMAGES;
const labels = Int32Array.from({ length: COUNT }, (_, i) => Math.floor(i / IMAGES));
const keyOf = (i: number): string => `${labels[i]}/${i % IMAGES}.jpg`;

/** Feature sets of one data set by models whose spaces are one (`compatible`) or not, and a gallery of the old one in SQLite. */
async function world(t: TestContext, { compatible = true, kind = 'sqlite' } = {}) {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  for (const name of ['old', 'new']) {
    const centres = unitRows(CLASSES, DIM, new Rng(compatible ? 'both' : name));
    const rows = unitRows(COUNT, DIM, new Rng(`noise of ${name}`)).map((value, i) => centres[labels[Math.floor(i / DIM)]! * DIM + (i % DIM)]! + 0.2 * value); // biome-ignore format: short
    const model = { name, digest: `digest of ${name}`, preset: 'default', differences: [], trainedOn: null };
    const content = { dim: DIM, classes: CLASSES, labels, families: new Int32Array(COUNT).fill(-1), flip: 'none' as const, dataset: null, model, id: keyOf }; // biome-ignore format: short
    await writeFeatureSet(at(name), content, {}, ({ append }) => append(rows));
  }
  const url = kind === 'sqlite' ? `sqlite:${at('gallery.db')}#faces` : `${kind}:${at('gallery')}#faces`;
  await loadGallery({ features: at('old'), url });
  return { folder, at, url };
}

/** Thresholds of new → old, new → new and old → old, as `mixbct thresholds` writes them. */
function writeThresholds(path: string, threshold = -1, grade = 'new threshold', steep = 1): string {
  const estimate = (value: number) => ({ value, low: value, high: value });
  const rates = { tar: estimate(1), far: estimate(0), tpir: estimate(1), fpir: estimate(0) };
  const pair = (query: string, gallery: string, calibration: Calibration) => ({
    ...{ query, gallery, queryModel: `digest of ${query}`, galleryModel: `digest of ${gallery}`, calibration },
    ...(gallery === 'old' && query === 'new' && { grade }),
    ...{ atOldThreshold: rates, threshold: estimate(threshold), atThreshold: rates },
    ...{ calibratedThreshold: 0, heldOutLogLoss: null },
  });
  const platt = (slope: number): Calibration => ({ kind: 'platt', slope, intercept: 0 });
  const pairs = [pair('new', 'old', platt(steep)), pair('new', 'new', platt(1)), pair('old', 'old', platt(1))];
  const evaluation = { title: 't', dataset: { path: 'x', digest: 'y' }, far: 1e-3, oldThreshold: 0.5, pairs };
  writeFileSync(path, JSON.stringify({ kind: 'thresholds', version: 1, mixbct: '0', evaluations: [evaluation] }));
  return path;
}

/** The share of queries whose best hit is another image of their class. */
const accuracy = (found: Awaited<ReturnType<typeof searchGallery>>): number =>
  found.filter(({ query, hits }) => hits[0]?.id.split('/')[0] === query.split('/')[0]).length / found.length;

for (const kind of ['sqlite', 'lancedb'])
  test(`a gallery in ${kind} that is made of a feature set is searched before, during and after its migration`, async (t) => {
    const { at, url } = await world(t, { kind });
    const { rows, dim, stamp, columns } = await describeGallery(url);
    assert.deepEqual([rows, dim, stamp?.model.name, stamp?.normalised], [COUNT, DIM, 'old', true]);
    assert.deepEqual(columns, ['id', 'vector', 'label']);
    await assert.rejects(loadGallery({ features: at('new'), url }), /there is a table faces already/);
    const [first, second] = await searchGallery({ url, features: at('old'), rows: [5, 9], k: 2, fields: ['label'] });
    assert.deepEqual([first!.query, first!.hits[0]!.id, first!.hits[0]!.fields, second!.hits.length], [keyOf(5), keyOf(5), { label: 1 }, 2]); // biome-ignore format: short
    assert.ok(Math.abs(first!.hits[0]!.score - 1) < 1e-6);
    const ask = (thresholds?: string) => searchGallery({ url, features: at('new'), thresholds });
    await assert.rejects(
      ask(),
      /holds vectors of old \(digest .*the query is of new .*\n.*--adapter.*--thresholds.*migrate run/,
    );
    const thresholds = writeThresholds(at('thresholds.json'));
    assert.ok(accuracy(await ask(thresholds)) > 0.9);
    await assert.rejects(
      ask(writeThresholds(at('no.json'), -1, 'no')),
      /an evaluation found that these queries are worse/,
    );
    assert.equal((await ask(writeThresholds(at('high.json'), 0.999)))[0]!.hits.length, 0);
    await migrate({ url, features: at('new'), batchSize: 15, signal: AbortSignal.abort() }).catch(({ name, message }) => assert.equal(name, 'Interrupted', message)); // biome-ignore format: short
    await assert.rejects(ask(), /holds vectors of old/);
    await assert.rejects(searchGallery({ url, features: at('old') }), /holds vectors of new/);
    {
      await using store = await openStore(url);
      const vectorOf = unitVectors(at('new'));
      const batch = (await store.page(null, 15)).map(({ key, version }) => ({ key, version, vector: vectorOf(key) }));
      await store.commit({ rows: batch, entry: { batch: 1, at: '2026-01-01', ms: 1 } });
    }
    const during = await ask(thresholds);
    assert.ok(accuracy(during) > 0.9);
    assert.deepEqual(new Set(during.flatMap(({ hits }) => hits.map(({ of }) => of))), new Set(['old', 'new']));
    for (const { hits } of during) assert.deepEqual(hits.map(({ logOdds }) => logOdds), hits.map(({ score }) => score)); // biome-ignore format: short
    // a calibration that finds old vectors likelier puts them first
    const steep = await ask(writeThresholds(at('steep.json'), 0.3, 'drop-in', 1000));
    const mixed = steep.find(({ hits }) => new Set(hits.map(({ of }) => of)).size === 2)!;
    assert.equal(mixed.hits.map(({ of }) => of).join(' ').match(/^(old ?)+(new ?)+$/)?.length, 3); // biome-ignore format: short
    await migrate({ url, features: at('new') });
    await cutOver(url);
    assert.ok(accuracy(await ask()) === 1);
    await finishMigration(url);
    await assert.rejects(searchGallery({ url, features: at('old') }), /holds vectors of new/);
  });

/** Unit vectors of a feature set by key. */
function unitVectors(path: string): (key: string) => Float32Array {
  using set = FeatureSet.open(path);
  const all = new Map(Array.from({ length: COUNT }, (_, i) => [keyOf(i), set.rows([i]).slice()]));
  return (key) => {
    const vector = all.get(key)!;
    const length = Math.hypot(...vector);
    return vector.map((x) => x / length);
  };
}

/** `plain` and `turned`: one space and the same rotated, with adapters `query` and `gallery` between both, and a gallery of `plain`. */
async function adaptable(t: TestContext) {
  const { at } = await world(t);
  const url = `sqlite:${at('turned.db')}#faces`;
  const [classes, each] = [24, 3];
  const count = classes * each;
  const centres = unitRows(classes, DIM, new Rng('centres'));
  const noises = unitRows(count, DIM, new Rng('noises'));
  const rows = noises.map((x, i) => centres[Math.floor(i / DIM / each) * DIM + (i % DIM)]! + 0.3 * x);
  const write = (name: string, values: Float32Array) => {
    const model = { name, digest: `digest of ${name}`, preset: 'default', differences: [], trainedOn: null };
    const columns = { labels: Int32Array.from({ length: count }, (_, i) => Math.floor(i / each)), families: new Int32Array(count).fill(-1) }; // biome-ignore format: short
    return writeFeatureSet(at(name), { dim: DIM, classes, ...columns, flip: 'none', dataset: null, model, id: (i) => `row ${i}` }, {}, ({ append }) => append(values)); // biome-ignore format: short
  };
  await write('plain', rows.slice());
  await write('turned', rows.map((_, i) => rows[i - (i % DIM) + ((i + 3) % DIM)]!)); // biome-ignore format: short
  await loadGallery({ features: at('plain'), url });
  for (const direction of ['query', 'gallery'] as const)
    await writeAdapter({ old: at('plain'), new: at('turned'), direction, out: at(direction), metric: 'rank-1', candidates: ['procrustes'], resamples: 10, allowWorse: true }); // biome-ignore format: short
  return { at, url, count };
}

test('queries through an adapter for the query find what the old model finds; another adapter is refused', async (t) => {
  const { at, url, count } = await adaptable(t);
  const found = await searchGallery({ url, features: at('turned'), adapter: at('query'), k: 1 });
  assert.equal(found.length, count);
  for (const { query, hits } of found) assert.deepEqual([hits[0]!.id, hits[0]!.of, hits[0]!.score > 0.999], [query, 'plain', true]); // biome-ignore format: short
  await assert.rejects(searchGallery({ url, features: at('turned'), adapter: at('gallery') }), /holds vectors of plain .*the query is of turned/); // biome-ignore format: short
  await assert.rejects(searchGallery({ url, features: at('new'), adapter: at('query') }), /holds vectors of plain .*the query is of new/); // biome-ignore format: short
});

/** Thresholds of one pair of models, with what tells it from others. */
function pairOfModels(path: string, query: string, gallery: string, more: Partial<ThresholdPair>, threshold = 0.999) {
  const estimate = (value: number) => ({ value, low: value, high: value });
  const rates = { tar: estimate(1), far: estimate(0), tpir: estimate(1), fpir: estimate(0) };
  const measured = { atOldThreshold: rates, threshold: estimate(threshold), atThreshold: rates };
  const pair = { query, gallery, queryModel: `digest of ${query}`, galleryModel: `digest of ${gallery}`, ...measured, calibration: null, calibratedThreshold: 0, heldOutLogLoss: null, ...more }; // biome-ignore format: short
  const evaluation = { title: 't', dataset: { path: 'x', digest: 'y' }, far: 1e-3, oldThreshold: 0.5, pairs: [pair] };
  writeFileSync(path, JSON.stringify({ kind: 'thresholds', version: 1, mixbct: '0', evaluations: [evaluation] }));
  return path;
}

test('what an evaluation found through an adapter or a projection says nothing of queries as they are', async (t) => {
  const { at, url } = await adaptable(t);
  using adapter = Adapter.open(at('query'));
  const { method, digest } = adapter.applied();
  const through = { direction: 'query', method, digest } as const;
  const ask = (thresholds: string, more: { readonly adapter?: string } = {}) =>
    searchGallery({ url, features: at('turned'), thresholds, ...more });
  const file = at('thresholds.json');
  const pair = (more: Partial<ThresholdPair>, threshold?: number) =>
    pairOfModels(file, 'turned', 'plain', { grade: 'drop-in', ...more }, threshold);
  const refused = /holds vectors of plain .*the query is of turned/;
  for (const direction of ['query', 'gallery'] as const)
    await assert.rejects(ask(pair({ adapter: { ...through, direction } })), refused, direction);
  await assert.rejects(ask(pair({ projection: 'digest of the projected' })), refused);
  // queries through the adapter are cut off at its threshold, named by either digest, and at no other
  const hits = async () => (await ask(file, { adapter: at('query') }))[0]!.hits.length;
  pair({ adapter: through }, 2);
  assert.equal(await hits(), 0);
  pair(
    { adapter: through, queryModel: adapter.modelThrough({ name: 'turned', digest: 'digest of turned' }).digest },
    2,
  );
  assert.equal(await hits(), 0);
  for (const other of [
    {},
    { adapter: { ...through, digest: 'another' } },
    { adapter: { ...through, method: 'ridge' } },
  ]) {
    pair(other, 2);
    assert.equal(await hits(), 10);
  }
  // a gallery that was rewritten has the threshold of its adapter
  await migrate({ url, adapter: at('gallery') });
  await cutOver(url);
  using rewritten = Adapter.open(at('gallery'));
  pair({ adapter: { direction: 'gallery', method: rewritten.info.method, digest: rewritten.info.digest } }, 2);
  assert.equal((await ask(file))[0]!.hits.length, 0);
  pairOfModels(file, 'turned', 'turned', {}, 2);
  assert.equal((await ask(file))[0]!.hits.length, 10, 'that of the new gallery is another');
  // nor do rows that are still mapped have it while the others have become the model's own
  await finishMigration(url);
  await migrate({ url, features: at('turned'), limit: 8, batchSize: 8 });
  assert.equal((await ask(file))[0]!.hits.length, 10);
});

test('a search that a migration of mapped vectors overtakes says so', async (t) => {
  const { at, url } = await adaptable(t);
  await migrate({ url, adapter: at('gallery') });
  await cutOver(url);
  await finishMigration(url);
  const found = await searchGallery({ url, features: at('turned') });
  assert.equal(found[0]!.hits.length, 10);
  await using store = await openStore(url);
  const prototype = Object.getPrototypeOf(store) as typeof store;
  const { search } = prototype;
  t.mock.method(prototype, 'search', async function (this: typeof store, ...asked: Parameters<typeof search>) {
    await migrate({ url, features: at('turned'), limit: 8, batchSize: 8 });
    return search.apply(this, asked);
  });
  await assert.rejects(searchGallery({ url, features: at('turned') }), /holds vectors of turned .* since this search began\n.*search again/); // biome-ignore format: short
});

test('queries without a verdict do not search a gallery of another model, and a roll-out says why it leaves them out', async (t) => {
  const { at, url } = await world(t);
  const ask = (more: Partial<ThresholdPair>) => searchGallery({ url, features: at('new'), thresholds: pairOfModels(at('t.json'), 'new', 'old', more, -1) }); // biome-ignore format: short
  await assert.rejects(
    ask({ grade: 'withheld' }),
    /has no verdict, its report says why: evaluate both on 100 identities/,
  );
  await assert.rejects(ask({}), /of an evaluation that judges these queries/, 'an oracle has no grade');
  assert.ok(accuracy(await ask({ grade: 'new threshold' })) > 0.9);
  const searches = (grade: 'drop-in' | 'withheld' | 'no') =>
    searchesAt({ url, old: at('old'), new: at('new'), thresholds: pairOfModels(at('t.json'), 'new', 'old', { grade }, -1), queries: 12, seed: 0 }); // biome-ignore format: short
  const served = await searches('drop-in');
  assert.ok(served.new!.right > 8 && served.old!.right > 8 && !served.withheld, JSON.stringify(served));
  const { old, ...skipped } = await searches('withheld');
  assert.deepEqual([skipped, old!.right > 8], [{ new: null, withheld: true }, true]);
  const { old: _, ...worse } = await searches('no');
  assert.deepEqual(worse, { new: null });
});

test('images go into galleries with their vectors, and are found by images', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const { file, ...about } = checkpoints.networks.find(({ file }) => file === 'mbf.pt')!;
  await importModel(checkpointPath(file), about, at('run'));
  const photo = (i: number): string => join(at('photos'), `${i % 3}`, `${i}.pgm`);
  for (let i = 0; i < 9; i++) {
    mkdirSync(join(at('photos'), `${i % 3}`), { recursive: true });
    writeFileSync(photo(i), encodePgm(pattern(i % 3, i, 16), 16, 16));
  }
  const features = at('features');
  await embedDataset({ model: at('run'), dataset: at('photos'), out: features });
  await using server = await startPostgres();
  for (const place of [`sqlite:${at('gallery.db')}`, `lancedb:${at('gallery')}`, server.url]) {
    const url = `${place}#faces`;
    assert.equal((await loadGallery({ features, url, data: at('photos') })).rows, 9);
    const { columns, dim, rows, stamp } = await describeGallery(url);
    assert.deepEqual([[...columns].sort(), dim, rows, stamp!.normalised], [['id', 'image', 'label', 'vector'], about.embeddingDim, 9, true]); // biome-ignore format: short
    await assert.rejects(loadGallery({ features, url }), /there is a table faces already/);
    const found = await searchGallery({ url, model: at('run'), images: [photo(4), photo(8)], k: 3, fields: ['label', 'image'] }); // biome-ignore format: short
    assert.deepEqual(found.map(({ query, hits }) => [query, hits.length]), [[photo(4), 3], [photo(8), 3]]); // biome-ignore format: short
    for (const [i, row] of [4, 8].entries()) {
      const [{ id, score, fields }] = found[i]!.hits as [GalleryHit];
      assert.deepEqual([id, fields['label'], score > 0.9999], [`${row % 3}/${row}.pgm`, row % 3, true]);
      assert.deepEqual(Buffer.from(fields['image'] as Uint8Array), readFileSync(photo(row)));
    }
  }
  const other = at('other');
  mkdirSync(join(other, '0'), { recursive: true });
  writeFileSync(join(other, '0', '0.pgm'), encodePgm(pattern(1, 1, 16), 16, 16));
  const refused = `sqlite:${at('refused.db')}#faces`;
  await assert.rejects(loadGallery({ features, url: refused, data: other }), /has no features of .*other\n.*--data/);
  assert.ok(!existsSync(at('refused.db')));
});

test('a stamp says what vectors are of, and is replaced only by force', async (t) => {
  const { at, url } = await world(t, { compatible: false });
  await assert.rejects(
    stampGallery({ url, features: at('new') }),
    /says that its vectors are of old .*\n.*migrate run.*--force/,
  );
  assert.equal((await describeGallery(url)).stamp?.model.name, 'old');
  assert.equal((await stampGallery({ url, features: at('new'), force: true })).normalised, true);
  assert.equal((await describeGallery(url)).stamp?.model.name, 'new');
  await assert.rejects(stampGallery({ url }), /--model or --features/);
});

test('a stamp finds out by vectors that are some whether they have length 1', async (t) => {
  const { at, url } = await world(t);
  const { database } = await openSqlite(at('gallery.db'));
  t.after(() => database.close());
  const set = database.prepare('UPDATE faces SET vector = ? WHERE id = ?');
  const isNormalised = async (): Promise<boolean> => (await stampGallery({ url, features: at('old') })).normalised;
  set.run(new Uint8Array(4 * DIM), keyOf(3));
  set.run(new Uint8Array(4 * DIM).fill(0xff), keyOf(4)); // not a number
  assert.equal(await isNormalised(), true);
  set.run(new Uint8Array(Float32Array.from({ length: DIM }, () => 1).buffer), keyOf(5));
  assert.equal(await isNormalised(), false);
  for (const i of labels.keys()) set.run(new Uint8Array(4 * DIM), keyOf(i));
  assert.equal(await isNormalised(), false, 'as in an empty gallery');
});

test('store and search from the command line', async (t) => {
  const { folder, at } = await world(t);
  const url = 'sqlite:second.db#faces';
  const run = (...words: string[]) => mixbct(folder, ...words);
  assert.match(run('store', 'load', 'old', url).out, /second\.db#faces: 40 rows, vectors of old/);
  assert.match(run('store', 'info', url).out, /40 rows in the table faces .*\n.*vectors of old .*of length 1/);
  assert.match(run('store', 'stamp', url, '--features', 'old').out, /vectors of old/);
  const table = run('search', url, '--features', 'old', '--rows', '3', '--k', '2', '--fields', 'label');
  assert.match(
    table.out,
    /query +id +cosine +log-odds +vectors of +label\n.*\n?0\/3\.jpg +0\/3\.jpg +1\.0000 +– +old +0/,
  );
  const json = JSON.parse(run('search', url, '--features', 'old', '--rows', '3', '--json').out);
  assert.equal(json[0].hits.length, 10);
  const refused = run('search', url, '--features', 'new');
  assert.deepEqual([refused.code, /holds vectors of old/.test(refused.err)], [2, true]);
  assert.match(run('search', url, '--features', 'old', '--rows', '99').err, /has no row 99, its rows are 0 … 39/);
  assert.match(run('store', 'load', 'old', 'files:x.npy#a').err, /a gallery cannot be created there/);
  assert.equal(existsSync(at('x.npy')), false);
});
