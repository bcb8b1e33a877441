// IJB from images to reports, on a small benchmark of real drawings: characters that no model was trained on.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { mixbct, type Outcome } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { GLYPH_SHEET, readGlyphs } from '../../test/helpers/glyphs.ts';
import { keptSets, type SmallIjb, writeSmallIjb } from '../../test/helpers/ijb.ts';
import { readNpz } from '../../test/helpers/npz.ts';
import { trained } from '../../test/helpers/runs.ts';
import { encodePgm } from '../data/decode.ts';
import { openDataset } from '../data/index.ts';
import { packImage, writeRecords } from '../data/recordio.ts';
import { writeSidecar } from '../data/sidecar.ts';
import { auc, type Evaluation, roc, scoresByIdentity } from '../eval/index.ts';
import { exportModel } from '../export/export-model.ts';
import { extractFeatures, FeatureSet } from '../features/index.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import { applyAdapter, writeAdapter } from '../stages/adapt.ts';

/** Sums in another order. */
const DOUBLE = 1e-12;
/** Characters of the benchmark; the others are for training. */
const TESTED = 24;

type Place = { readonly folder: string; readonly ijb: SmallIjb };
let made: Promise<Place> | undefined;
const cleanups: (() => void)[] = [];
after(() => {
  for (const cleanup of cleanups) cleanup();
});

/** A benchmark, an old model, and a new one that keeps to its features; made once. */
const place = (): Promise<Place> => (made ??= makePlace());

async function makePlace(): Promise<Place> {
  const folder = testFolder({ after: (cleanup: () => void) => cleanups.push(cleanup) } as never);
  const ijb = await writeSmallIjb(join(folder, 'ijb'), { subjects: TESTED });
  const set = join(folder, 'train');
  const glyphs = await readGlyphs();
  const { subjects, faces, side } = GLYPH_SHEET;
  await writeRecords(set, (writer) => {
    const classes = subjects - TESTED;
    writer.write(0, packImage({ labels: [classes * faces + 1, classes], id: 0, image: new Uint8Array() }));
    for (let k = 0; k < classes * faces; k++) {
      const rgb = glyphs(TESTED + Math.floor(k / faces), k % faces);
      const image = encodePgm(
        rgb.filter((_, i) => i % 3 === 0),
        side,
        side,
      );
      writer.write(k + 1, packImage({ labels: [Math.floor(k / faces), 1], id: k + 1, image }));
    }
  });
  writeSidecar(set, {});
  using dataset = openDataset(set);
  const network = { name: 'r18', embeddingDim: 16, inputSide: 32, width: 0.125 };
  const augment = { flip: false, rotateDeg: 5, scale: 0.1, shift: 0.05 };
  const shared = { network, augment, head: { kind: 'arcface', marginRad: 0.2, scale: 16 }, batchSize: 24 };
  await trained(dataset, join(folder, 'old'), { ...shared, epochs: 12 });
  using old = await openEncoder(join(folder, 'old'));
  await extractFeatures(dataset, old, { out: join(folder, 'old-features') });
  const method = { kind: 'l2', weight: 10, threshold: 0 };
  await trained(
    dataset,
    join(folder, 'new'),
    { ...shared, epochs: 12, method },
    { paths: { features: join(folder, 'old-features') } },
  );
  return { folder, ijb };
}

/** Intervals are not what these tests are about, and a thread for decoding takes longer to start than the images take. */
const SMALL = ['--threads', '1', '--workers', '0', '--resamples', '20'];

const evaluateIjb = (folder: string, out: string, ...more: readonly string[]): Outcome =>
  mixbct(folder, 'evaluate', 'ijb', '--data', 'ijb', '--out', out, ...SMALL, ...more);

const testOf = ({ tests }: Evaluation, query: string, gallery: string) =>
  tests.find((found) => found.query === query && found.gallery === gallery)!;

test('images become features, once for each model, and features the whole matrix of both protocols', async (t) => {
  const { folder, ijb } = await place();
  const both = evaluateIjb(
    folder,
    'both',
    '--model',
    'new',
    '--old',
    'old',
    '--far',
    '1e-2',
    '--scores',
    '--figures',
    '--json',
  );
  assert.equal(both.code, 0, both.err);
  const evaluation = JSON.parse(both.out) as Evaluation;
  assert.deepEqual(
    evaluation.tests.map(({ query, gallery }) => `${query} → ${gallery}`),
    ['old → old', 'new → new', 'new → old'],
  );
  assert.equal(keptSets(join(folder, 'features/ijb')).length, 2, 'one feature set for each model');
  assert.deepEqual(
    evaluation.protocol.galleries,
    ijb.galleries.map(({ size }) => size),
  );
  assert.equal(evaluation.protocol.probes, ijb.probes.size);
  assert.equal(evaluation.operatingPoint!.far, 1e-2);
  const chance = 1 / ijb.galleries[0]!.size;
  for (const { query, gallery, verification, identification } of evaluation.tests) {
    const rankOne = identification!.ranks[0]!.rate;
    assert.ok(rankOne > 2 * chance, `${query} → ${gallery}: rank-1 ${rankOne}, chance ${chance}`);
    assert.ok(verification!.auc > 0.6, `${query} → ${gallery}: AUC ${verification!.auc}`);
    // what was written of the scores gives the same area
    const { scores, label } = await readNpz(t, join(folder, 'both', `scores-${query}-on-${gallery}.npz`));
    assert.deepEqual(
      Array.from(label!),
      ijb.pairs.map(([, , same]) => same),
    );
    const parted = scoresByIdentity(scores as Float64Array, label!);
    assert.ok(Math.abs(auc(roc(parted)) - verification!.auc) < DOUBLE);
  }
  for (const name of ['report.html', 'report.md', 'evaluation.json', 'roc.svg', 'det.png', 'cmc.svg', 'tpir.png'])
    assert.ok(existsSync(join(folder, 'both', name)), name);
  const page = readFileSync(join(folder, 'both/report.html'), 'utf8');
  const { searches, pairs } = evaluation.candidates[0]!.changes!;
  for (const part of [
    `Of ${searches!.searches} searches of the old gallery`,
    `repair ${searches!.repaired.count}</b>`,
    'so there are no pictures of what changes, no scores drawn and no map',
    '<th scope="col">query template',
    'keeps the <a href="#def-far">FAR</a> of 1e-4',
    'bands of 95 %</label>',
  ])
    assert.ok(page.includes(part), part);
  assert.equal(pairs!.genuine.pairs, evaluation.protocol.genuinePairs);
  const markdown = readFileSync(join(folder, 'both/report.md'), 'utf8');
  for (const part of [
    'IJBC 1:1, TAR at the nearest FAR, as published',
    'IJBC 1:N, TPIR at FPIR',
    'Can new serve',
    'At the old threshold',
  ])
    assert.ok(markdown.includes(part), part);
  // the card of an exported model has it, with the thresholds that the roll-out needs
  const { card } = await exportModel(join(folder, 'new'), {
    ...{ to: 'safetensors', out: join(folder, 'new.safetensors'), evaluation: join(folder, 'both') },
  });
  const words = readFileSync(card, 'utf8');
  for (const part of ['## Backward compatibility on IJBC', '### Can new serve'])
    assert.ok(words.includes(`\n${part}`), `${part}\n${words}`);
  const { far, threshold, atMost } = testOf(evaluation, 'new', 'old').verification!.tar.at(-1)!;
  const row = `| new → old | ${far.toExponential()} | ${(threshold as number).toFixed(6)} | ${(100 * atMost).toFixed(2)} % |`;
  assert.ok(words.split('\n### Thresholds\n')[1]?.includes(row), `${row}\n${words}`);
  // a self-test later needs no image: its features are kept
  const crops = join(folder, 'ijb/IJBC/loose_crop');
  renameSync(crops, `${crops}-away`);
  mkdirSync(crops); // without its files
  const alone = evaluateIjb(folder, 'alone', '--model', 'new', '--protocol', '11', '--json');
  rmdirSync(crops);
  renameSync(`${crops}-away`, crops);
  assert.equal(alone.code, 0, alone.err);
  const self = JSON.parse(alone.out) as Evaluation;
  assert.equal(self.tests[0]!.identification, null);
  assert.equal(testOf(self, 'new', 'new').verification!.auc, testOf(evaluation, 'new', 'new').verification!.auc);
  // and a feature set can be named itself
  const kept = keptSets(join(folder, 'features/ijb')).map((name) => `features/ijb/${name}`);
  const named = evaluateIjb(folder, 'named', '--model', `a=${kept[0]}`, '--model', `b=${kept[1]}`, '--json');
  assert.equal(named.code, 0, named.err);
  assert.deepEqual(
    (JSON.parse(named.out) as Evaluation).tests.map(({ query }) => query),
    ['a', 'b'],
  );
});

const main = resolve(import.meta.dirname, 'main.js');

test('an evaluation that is killed while it extracts goes on where it was, and does nothing twice', async () => {
  const { folder } = await place();
  const args = ['--model', 'new', '--features', 'cut', '--batch-size', '4', '--protocol', '11'];
  const child = spawn(
    process.execPath,
    [main, 'evaluate', 'ijb', '--data', 'ijb', '--out', 'cut-1', '--threads', '1', ...args],
    { cwd: folder, stdio: 'ignore' },
  );
  await growing(child, join(folder, 'cut'));
  child.kill('SIGKILL');
  await new Promise((done) => child.once('exit', done));
  assert.ok(!existsSync(join(folder, 'cut-1')));
  const again = evaluateIjb(folder, 'cut-1', ...args);
  assert.equal(again.code, 0, again.err);
  const from = Number(/goes? on .*?(\d+)/.exec(again.err)?.[1]);
  assert.ok(from >= 4 && from % 4 === 0, again.err);
  const whole = evaluateIjb(folder, 'cut-2', ...args.with(3, 'whole'));
  assert.equal(whole.code, 0, whole.err);
  const features = (root: string): Buffer => {
    const [name] = keptSets(join(folder, root));
    return readFileSync(join(folder, root, name!, 'features.npy'));
  };
  assert.ok(features('cut').equals(features('whole')));
  assert.equal(keptSets(join(folder, 'cut')).length, 1, 'nothing but the finished set remains');
});

/** Waits until features are on disk. */
async function growing(child: ChildProcess, folder: string): Promise<void> {
  const HEADER = 128;
  for (;;) {
    assert.equal(child.exitCode, null, 'it ended before it could be killed');
    const parts = existsSync(folder) ? readdirSync(folder) : [];
    const files = parts.map((part) => join(folder, part, 'features.npy')).filter((file) => existsSync(file));
    if (files.some((file) => statSync(file).size > HEADER)) return;
    await sleep(2);
  }
}

test('features are not kept longer than the images that they were made of', async () => {
  const { folder, ijb } = await place();
  const run = (out: string): Outcome =>
    evaluateIjb(folder, out, '--model', 'new', '--features', 'kept', '--protocol', '11', '--json');
  const areaOf = (outcome: Outcome): number => {
    assert.equal(outcome.code, 0, outcome.err);
    return testOf(JSON.parse(outcome.out) as Evaluation, 'new', 'new').verification!.auc;
  };
  const before = areaOf(run('kept-1'));
  const black = await sharp({ create: { width: 90, height: 90, channels: 3, background: '#000' } }).jpeg().toBuffer(); // biome-ignore format: short
  const crops = join(folder, 'ijb/IJBC/loose_crop');
  cpSync(crops, `${crops}-kept`, { recursive: true });
  for (const { name } of ijb.rows) writeFileSync(join(crops, name), black);
  const changed = run('kept-2');
  assert.match(changed.err, /images of ijb\/IJBC have changed since, their features are extracted again/);
  assert.ok(areaOf(changed) < before - 0.05, `${areaOf(changed)} of black images, ${before} before`);
  assert.doesNotMatch(run('kept-3').err, /have changed since/);
  // 0.3.0 did not record which files: features that are older than a file are not of it
  const [name] = keptSets(join(folder, 'kept'));
  const manifest = join(folder, 'kept', name!, 'manifest.json');
  const { dataset, ...rest } = JSON.parse(readFileSync(manifest, 'utf8'));
  writeFileSync(manifest, JSON.stringify({ ...rest, dataset: { ...dataset, files: undefined } }));
  assert.doesNotMatch(run('kept-4').err, /have changed since/);
  rmSync(crops, { recursive: true });
  renameSync(`${crops}-kept`, crops);
  for (const { name } of ijb.rows) utimesSync(join(crops, name), new Date(), new Date());
  utimesSync(manifest, new Date(), new Date(Date.now() - 3_600_000));
  const restored = run('kept-5');
  assert.match(restored.err, /have changed since/);
  assert.equal(areaOf(restored), before);
});

test('IJB-B is read by its own names, and a protocol needs its own files alone', async () => {
  const { folder } = await place();
  await writeSmallIjb(join(folder, 'ijb'), { subset: 'IJBB', subjects: TESTED });
  const ofB = evaluateIjb(folder, 'b', '--subset', 'IJBB', '--model', 'old', '--json');
  assert.equal(ofB.code, 0, ofB.err);
  const [result] = (JSON.parse(ofB.out) as Evaluation).tests;
  assert.deepEqual(
    result!.identification!.galleries!.map(({ name }) => name),
    ['S1', 'S2'],
  );
  rmSync(join(folder, 'ijb/IJBB/meta/ijbb_1N_probe_mixed.csv'));
  const pairsOnly = evaluateIjb(folder, 'b-11', '--subset', 'IJBB', '--model', 'old', '--protocol', '11');
  assert.equal(pairsOnly.code, 0, pairsOnly.err);
  const searches = evaluateIjb(folder, 'b-1n', '--subset', 'IJBB', '--model', 'old', '--protocol', '1N');
  assert.equal(searches.code, 2);
  assert.match(searches.err, /ijbb_1N_probe_mixed\.csv: no such file/);
});

test('features that went through an adapter are judged in the old space they were mapped into, and refused elsewhere', async () => {
  const { folder } = await place();
  const at = (name: string): string => join(folder, name);
  const { code, err } = evaluateIjb(folder, 'two', '--model', 'new', '--old', 'old', '--features', 'two-kept');
  assert.equal(code, 0, err);
  const kept = new Map(
    keptSets(at('two-kept')).map((name) => {
      using set = FeatureSet.open(join(at('two-kept'), name));
      return [set.info.model!.name, join('two-kept', name)] as const;
    }),
  );
  using dataset = openDataset(at('train'));
  using encoder = await openEncoder(at('new'));
  await extractFeatures(dataset, encoder, { out: at('new-features') });
  for (const [direction, source, out] of [
    ['query', 'new', 'adapted'],
    ['gallery', 'old', 'rewritten'],
  ] as const) {
    const sets = { old: at('old-features'), new: at('new-features'), direction, out: at(direction) };
    await writeAdapter({ ...sets, candidates: ['procrustes'], resamples: 10, allowWorse: true });
    await applyAdapter({ adapter: at(direction), features: at(kept.get(source)!), out: at(out) });
  }
  const args = ['--model', 'adapted', '--old', `old=${kept.get('old')}`, '--protocol', '11', '--json'];
  const judged = evaluateIjb(folder, 'adapted-judged', ...args);
  assert.equal(judged.code, 0, judged.err);
  assert.ok(testOf(JSON.parse(judged.out), 'adapted', 'old').verification!.auc > 0.6);

  const refused = (message: RegExp, ...more: readonly string[]): void => {
    const outcome = evaluateIjb(folder, 'refused-adapted', ...more);
    assert.equal(outcome.code, 2, outcome.err);
    assert.match(outcome.err, message);
    assert.ok(!existsSync(at('refused-adapted')));
  };
  refused(/rewritten went through an adapter for the gallery/, '--model', 'rewritten', '--old', 'old');
  refused(/adapted went .* into the space of another model than new/, '--model', 'adapted', '--old', 'new');
  refused(/adapted went .*, wanted features of the old model/, '--model', 'new', '--old', 'adapted');
  refused(
    /features and an adapter\n.*mixbct adapt apply query/,
    ...['--model', `a=${kept.get('new')}+query`, '--old', 'old'],
  );
});

test('what cannot be evaluated is refused by name, and leaves nothing behind', async () => {
  const { folder } = await place();
  const refused = (message: RegExp, ...args: readonly string[]): void => {
    const { code, err } = evaluateIjb(folder, 'refused', ...args);
    assert.equal(code, 2, err);
    assert.match(err, message);
    assert.ok(!existsSync(join(folder, 'refused')));
  };
  refused(/nothing to judge/);
  refused(/--protocol 12: wanted 11, 1N or 11,1N/, '--model', 'old', '--protocol', '12');
  refused(/two models are called old.*\n.*--model name=folder/, '--model', 'old', '--old', 'old');
  refused(/a\/b=old: a\/b is no name for a model/, '--model', 'a/b=old');
  refused(/nowhere: is no finished run/, '--model', 'nowhere');
  refused(/old-features: holds features of .*, wanted features of ijb/, '--model', 'x=old-features');
  const pairs = join(folder, 'ijb/IJBC/meta/ijbc_template_pair_label.txt');
  const whole = readFileSync(pairs, 'utf8');
  writeFileSync(pairs, whole.replace(/ 0\n/, ' 2\n'));
  refused(/ijbc_template_pair_label\.txt: line \d+: label 2, wanted 0 or 1/, '--model', 'old');
  writeFileSync(pairs, whole);
  using set = FeatureSet.open(join(folder, 'old-features'));
  assert.ok(set.info.count > 0);
});
