import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import { testFolder } from '../../test/helpers/folder.ts';
import { GLYPH_SHEET, readGlyphs } from '../../test/helpers/glyphs.ts';
import { type SmallIjb, writeSmallIjb } from '../../test/helpers/ijb.ts';
import { ArrayFileWriter } from '../artifacts/array-file.ts';
import { FileError } from '../base/errors.ts';
import { mirrorInto } from './augment.ts';
import { alignedDataset, cropFilesDigest } from './crops.ts';
import { type Ijb, type IjbSubset, openIjb } from './ijb.ts';
import { Loader } from './loader.ts';
import { sequentialOrder } from './sampler.ts';

const ascending = (ids: Iterable<number>): number[] => [...new Set(ids)].sort((a, b) => a - b);

for (const subset of ['IJBC', 'IJBB'] as const)
  test(`${subset} is read from its published layout`, async (t) => {
    const root = testFolder(t);
    const made = await writeSmallIjb(root, { subset, subjects: 20 });
    const ijb = openIjb(root, subset);
    const { images } = ijb;
    assert.deepEqual(images.names, made.rows.map(({ name }) => name)); // biome-ignore format: short
    assert.deepEqual([...images.templates], made.rows.map(({ template }) => template)); // biome-ignore format: short
    assert.deepEqual([...images.media], made.rows.map(({ medium }) => medium)); // biome-ignore format: short
    assert.deepEqual(images.landmarks, Float32Array.from(made.rows.flatMap(({ landmarks }) => landmarks)));
    assert.deepEqual(images.detector, Float32Array.from(made.rows.map(({ score }) => score)));
    assert.deepEqual([...ijb.templateIds], ascending(images.templates));
    const { galleries, probes } = ijb.identification();
    assert.deepEqual(galleries.map(({ name }) => name), subset === 'IJBC' ? ['G1', 'G2'] : ['S1', 'S2']); // biome-ignore format: short
    for (const [g, { templates, subjects }] of galleries.entries()) {
      assert.deepEqual([...templates], ascending(made.galleries[g]!.values()));
      const expected = new Map([...made.galleries[g]!].map(([subject, template]) => [template, subject + 1000]));
      assert.deepEqual([...subjects], [...templates].map((id) => expected.get(id))); // biome-ignore format: short
    }
    assert.deepEqual([...probes.templates], ascending(made.probes.keys()));
    assert.deepEqual([...probes.subjects], [...probes.templates].map((id) => made.probes.get(id)! + 1000)); // biome-ignore format: short
    for (const chunk of [7, 1000]) {
      const seen = [...ijb.pairs({ chunk })];
      assert.ok(seen.every(({ same }) => same.length <= chunk));
      const flat = seen.flatMap(({ gallery, query, same }) => Array.from(same, (s, i) => [gallery[i], query[i], s]));
      assert.deepEqual(flat, made.pairs);
    }
  });

test('the benchmark of the tests has what the real one has, and equal seeds make equal files', async (t) => {
  const root = testFolder(t);
  const made = await writeSmallIjb(join(root, 'a'));
  const { galleries, probes } = openIjb(join(root, 'a'), 'IJBC').identification();
  const enrolled = new Set(galleries.flatMap(({ subjects }) => [...subjects]));
  assert.equal(enrolled.size, 52);
  assert.equal([...probes.subjects].filter((subject) => !enrolled.has(subject)).length, 24, 'probes without a mate');
  const sizes = made.rows.reduce((of, { template }) => of.set(template, (of.get(template) ?? 0) + 1), new Map());
  assert.deepEqual(ascending(sizes.values()), [1, 2, 4]);
  await writeSmallIjb(join(root, 'b'));
  assert.equal(openIjb(join(root, 'b'), 'IJBC').digest, openIjb(join(root, 'a'), 'IJBC').digest);
  const crop = (folder: string): Buffer => readFileSync(join(root, folder, 'IJBC/loose_crop/77.jpg'));
  assert.deepEqual(crop('a'), crop('b'));
});

/** Mean difference of grey levels that JPEG, noise and two resamplings leave; unlike characters differ by about 60. */
const LIKE = 30;

test('aligned crops show the drawing where the template has it, whoever decodes', async (t) => {
  const root = testFolder(t);
  const { rows } = await writeSmallIjb(root, { subjects: 12 });
  const ijb = openIjb(root, 'IJBC');
  using dataset = alignedDataset(ijb);
  assert.deepEqual([dataset.size, dataset.classes, dataset.alignment], [rows.length, 48, 'five-points']);
  assert.deepEqual([...dataset.labels()].map((label) => ijb.templateIds[label]), [...ijb.images.templates]); // biome-ignore format: short
  assert.deepEqual(dataset.families(), ijb.images.media);
  const imageSide = GLYPH_SHEET.side;
  const pixels = async (workers: number, flip = false): Promise<Buffer> => {
    await using loader = new Loader(dataset, { workers });
    const batches: Buffer[] = [];
    const augment = flip ? { flip, rotateDeg: 0, scale: 0, shift: 0 } : null;
    const options = { batchSize: 16, imageSide, order: sequentialOrder(dataset.size), augment };
    for await (using batch of loader.epoch(options)) batches.push(Buffer.from(batch.images));
    return Buffer.concat(batches);
  };
  const [here, there] = [await pixels(0), await pixels(2)];
  assert.deepEqual(there, here);
  const glyphs = await readGlyphs();
  const bytes = imageSide * imageSide * 3;
  const difference = (a: Uint8Array, b: Uint8Array): number =>
    a.reduce((sum, value, k) => sum + Math.abs(value - b[k]!), 0) / a.length;
  for (const [i, { subject, face }] of rows.entries()) {
    const seen = here.subarray(i * bytes, (i + 1) * bytes);
    const off = difference(seen, glyphs(subject, face).map((v) => 20 + 0.8 * v)); // biome-ignore format: short
    assert.ok(off < LIKE, `image ${i} differs by ${off}`);
    const other = difference(seen, glyphs((subject + 5) % 12, face).map((v) => 20 + 0.8 * v)); // biome-ignore format: short
    assert.ok(off < other, `image ${i}: ${off} from its own drawing, ${other} from another`);
    if (i % 40 === 0) for (let k = 0; k < bytes; k += 3) assert.ok(seen[k] === seen[k + 1] && seen[k] === seen[k + 2]);
  }
  const flipped = await pixels(1, true);
  const mirrored = new Uint8Array(bytes);
  let mirrors = 0;
  for (let i = 0; i < rows.length; i++) {
    const own = flipped.subarray(i * bytes, (i + 1) * bytes);
    mirrorInto(here.subarray(i * bytes, (i + 1) * bytes), mirrored, 0, imageSide);
    if (difference(own, mirrored) < 0.5)
      mirrors++; // one resampling of the mirrored place: halves may round otherwise
    else assert.deepEqual(own, here.subarray(i * bytes, (i + 1) * bytes));
  }
  assert.ok(mirrors > rows.length / 4 && mirrors < (3 * rows.length) / 4, `${mirrors} of ${rows.length}`);
});

type Breaking = (edit: (file: string, change: (lines: string[]) => unknown) => void, made: SmallIjb) => void;
type Use = (ijb: Ijb) => unknown;

/** Damages a benchmark, and checks what opening and using it says. */
async function refused(t: TestContext, damage: Breaking, use: Use, message: RegExp): Promise<void> {
  const root = testFolder(t);
  const made = await writeSmallIjb(root, { subjects: 6 });
  damage((file, change) => {
    const path = join(root, 'IJBC/meta', `ijbc_${file}`);
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    const result = change(lines);
    writeFileSync(path, `${(Array.isArray(result) ? result : lines).join('\n')}\n`);
  }, made);
  assert.throws(
    () => use(openIjb(root, 'IJBC')),
    (error) => {
      assert.ok(error instanceof FileError, String(error));
      assert.match(error.message, message);
      return true;
    },
  );
}

const opened: Use = () => undefined;
const pairs: Use = (ijb) => [...ijb.pairs()];
const genuine: Use = (ijb) => ijb.genuinePairs();
const identification: Use = (ijb) => ijb.identification();
const LIST = 'face_tid_mid.txt';
const POINTS = 'name_5pts_score.txt';
const PAIRS = 'template_pair_label.txt';
const [G1, G2, PROBES] = ['1N_gallery_G1.csv', '1N_gallery_G2.csv', '1N_probe_mixed.csv'];

const damages: readonly (readonly [what: string, damage: Breaking, use: Use, message: RegExp])[] = [
  ['a cell too few', (edit) => edit(LIST, (l) => (l[4] = '5.jpg 3')), opened, /tid_mid\.txt: line 5: wanted 3 columns, got 2/],
  ['an id that is none', (edit) => edit(LIST, (l) => (l[1] = '2.jpg x 3')), opened, /line 2, column 2: wanted a whole number/],
  ['a row twice', (edit) => edit(LIST, (l) => l.toSpliced(3, 0, l[1]!)), opened, /line 4: template \d+ has 2\.jpg in line 2 already/],
  ['a name that climbs', (edit) => edit(LIST, (l) => (l[0] = '../x.jpg 1 2')), opened, /line 1: "\.\.\/x\.jpg" is no name/],
  ['no images', (edit) => edit(LIST, () => []), opened, /lists no images/],
  ['another order', (edit) => edit(POINTS, (l) => l.reverse()), opened, /5pts_score\.txt: line 1: is about \d+\.jpg, line 1 of ijbc_face_tid_mid\.txt about 1\.jpg/],
  ['too few landmarks', (edit) => edit(POINTS, (l) => l.slice(0, -3)), opened, /ends after line \d+, ijbc_face_tid_mid\.txt lists \d+ images/],
  ['too many landmarks', (edit) => edit(POINTS, (l) => l.push(l[0]!)), opened, /is about 1\.jpg, line \d+ of .* about nothing/],
  ['11 columns', (edit) => edit(POINTS, (l) => (l[2] = l[2]!.replace(/ \S+$/, ''))), opened, /line 3: wanted 12 columns, got 11/],
  ['a score that is none', (edit) => edit(POINTS, (l) => (l[2] = l[2]!.replace(/\S+$/, 'nan'))), opened, /line 3, column 12: wanted a number, got "nan"/],
  ['landmarks on one point', (edit) => edit(POINTS, (l) => (l[2] = `3.jpg${' 5'.repeat(10)} 1`)), opened, /line 3: the landmarks lie on one point/],
  ['a label of 2', (edit) => edit(PAIRS, (l) => (l[6] = l[6]!.replace(/.$/, '2'))), pairs, /pair_label\.txt: line 7: label 2, wanted 0 or 1/],
  ['an unknown template', (edit) => edit(PAIRS, (l) => (l[6] = '1 99999 0')), pairs, /line 7: template (1|99999) has no images in ijbc_face_tid_mid\.txt/],
  ['no pairs', (edit) => edit(PAIRS, () => []), pairs, /holds no pairs/],
  ['a stranger enrolled', (edit) => edit(G1, (l) => l.push('99999,7')), identification, /G1\.csv: line \d+: template 99999 has no images/],
  ['a template of two', (edit) => edit(G1, (l) => l.push(l[1]!.replace(/,\d+/, ',1'))), identification, /template \d+ shows subject 1, and 1000 further up/],
  ['a subject in both galleries', (edit, { galleries }) => edit(G2, (l) => l.push(`${galleries[0]!.get(0)},1000`)), identification, /G2\.csv: line \d+: template (\d+) shows subject 1000, as does template \1 of ijbc_1N_gallery_G1\.csv/],
  ['two templates of one subject', (edit, { rows }) => edit(G1, (l) => l.push(`${rows.find(({ subject, face }) => subject === 0 && face === 6)!.template},1000`)), identification, /template \d+ shows subject 1000, as does template \d+ of ijbc_1N_gallery_G1\.csv/],
  ['an empty gallery', (edit) => edit(G2, (l) => l.slice(0, 1)), identification, /G2\.csv: holds no templates/],
  ['no pair of one subject', (edit) => edit(PAIRS, (l) => l.map((line) => line.replace(/1$/, '0'))), genuine, /pair_label\.txt: holds no pair of label 1/],
  ['a genuine pair of a stranger', (edit) => edit(PAIRS, (l) => (l[4] = '99999 1 1')), genuine, /pair_label\.txt: line 5: template 99999 has no images/],
  ['a genuine pair of two cells', (edit) => edit(PAIRS, (l) => (l[4] = '7 1')), genuine, /pair_label\.txt: line 5: wanted 3 columns, got 2/],
  ['probes of one column', (edit) => edit(PROBES, (l) => (l[1] = '7')), identification, /probe_mixed\.csv: line 2: wanted 2 columns, got 1/],
]; // biome-ignore format: a table

for (const [what, ...rest] of damages) test(`refused: ${what}`, (t) => refused(t, ...rest));

test('lists with tabs, trailing blanks, CRLF, a byte order mark and no header say what the plain ones say', async (t) => {
  const root = testFolder(t);
  const made = await writeSmallIjb(root, { subjects: 6 });
  const all = (): unknown[] => {
    const ijb = openIjb(root, 'IJBC');
    return [ijb.images, [...ijb.pairs()], ijb.genuinePairs(), ijb.identification()];
  };
  const plain = all();
  assert.equal(openIjb(root, 'IJBC').genuinePairs().gallery.length, made.pairs.filter(([, , same]) => same).length);
  const files = [LIST, POINTS, PAIRS, G1, G2, PROBES].map((name) => join(root, 'IJBC/meta', `ijbc_${name}`));
  const texts = files.map((file) => readFileSync(file, 'utf8'));
  const changes: readonly ((text: string) => string)[] = [
    (text) => text.replaceAll('\n', ' \n'),
    (text) => `\ufeff${text.replaceAll(' ', '\t')}`,
    (text) => text.replaceAll(' ', '  ').replaceAll('\n', '\t\r\n').trimEnd(),
    (text) => text.replace(/^TEMPLATE.*\n/, '').replaceAll(',', ' , '),
  ];
  for (const change of changes) {
    for (const [i, file] of files.entries()) writeFileSync(file, change(texts[i]!));
    assert.deepEqual(all(), plain, String(change));
  }
});

test('lists that are kept are taken, those of other text or damaged are not', async (t) => {
  const root = testFolder(t);
  await writeSmallIjb(root, { subjects: 6 });
  const cache = join(root, 'kept');
  const all = (options = {}): unknown[] => {
    const ijb = openIjb(root, 'IJBC', options);
    return [ijb.images, ijb.templateIds, [...ijb.pairs()], ijb.genuinePairs()];
  };
  const plain = all();
  for (const _ of [1, 2]) assert.deepEqual(all({ cache }), plain);
  const pairsFile = (): string => join(cache, readdirSync(cache).find((name) => name.startsWith('pairs-'))!);
  assert.equal(readdirSync(cache).length, 2);
  const other = Int32Array.of(1);
  {
    using file = new ArrayFileWriter(pairsFile());
    for (const array of [other, other, Uint8Array.of(1), other, other]) file.append(array);
    file.finish();
  }
  assert.deepEqual([...openIjb(root, 'IJBC', { cache }).pairs()], [{ gallery: other, query: other, same: Uint8Array.of(1) }]); // biome-ignore format: short
  const bytes = readFileSync(pairsFile());
  bytes[0]! ^= 1;
  writeFileSync(pairsFile(), bytes);
  assert.deepEqual(all({ cache }), plain, 'a damaged file is written again');
  assert.deepEqual(all({ cache }), plain);
  const { images } = openIjb(root, 'IJBC', { cache });
  for (const name of readdirSync(cache)) if (name.startsWith('images-')) rmSync(join(cache, name));
  assert.deepEqual([images.names, images.landmarks], [openIjb(root, 'IJBC').images.names, openIjb(root, 'IJBC').images.landmarks]); // biome-ignore format: short
  const text = join(root, 'IJBC/meta', `ijbc_${PAIRS}`);
  writeFileSync(text, readFileSync(text, 'utf8').split('\n').slice(1).join('\n'));
  const shorter = all();
  assert.notDeepEqual(shorter, plain);
  for (const _ of [1, 2]) assert.deepEqual(all({ cache }), shorter);
  const [first] = openIjb(root, 'IJBC', { cache: join(root, 'IJBC/meta/ijbc_1N_gallery_G1.csv', 'x') }).pairs();
  assert.ok(first, 'a folder that takes no files keeps nothing');
});

test('files that are not asked for need not be there; one that is, is named', async (t) => {
  const root = testFolder(t);
  await writeSmallIjb(root, { subjects: 6 });
  const remove = (name: string): void => rmSync(join(root, 'IJBC', name), { recursive: true });
  for (const name of ['template_pair_label.txt', '1N_gallery_G2.csv', '1N_probe_mixed.csv'])
    remove(`meta/ijbc_${name}`);
  remove('loose_crop/3.jpg');
  const ijb = openIjb(root, 'IJBC');
  assert.match(ijb.digest, /^[0-9a-f]{16}$/);
  assert.throws(() => [...ijb.pairs()], /ijbc_template_pair_label\.txt: no such file/);
  assert.throws(() => ijb.identification(), /ijbc_1N_gallery_G2\.csv: no such file/);
  assert.throws(
    () => alignedDataset(ijb),
    /tid_mid\.txt: line 3: 3\.jpg is not in .*loose_crop \(1 of \d+ images are missing\)/,
  );
  assert.match(cropFilesDigest(ijb)!, /^[0-9a-f]{16}$/);
  for (const name of readdirSync(join(root, 'IJBC/loose_crop'))) remove(`loose_crop/${name}`);
  assert.equal(cropFilesDigest(ijb), null, 'an empty folder has no crops');
  remove('loose_crop');
  assert.equal(cropFilesDigest(ijb), null);
  assert.throws(() => alignedDataset(ijb), /loose_crop: no such folder/);
  assert.throws(() => openIjb(root, 'IJBB' satisfies IjbSubset), /IJBB: no such folder/);
  assert.ok(existsSync(root));
});

test('an image whose landmarks lie far outside of it is named when it is decoded', async (t) => {
  const root = testFolder(t);
  await writeSmallIjb(root, { subjects: 6 });
  const path = join(root, 'IJBC/loose_crop/2.jpg');
  const small = await sharp({ create: { width: 12, height: 10, channels: 3, background: '#777' } })
    .png()
    .toBuffer();
  writeFileSync(path, small);
  using dataset = alignedDataset(openIjb(root, 'IJBC'));
  await using loader = new Loader(dataset, { workers: 0 });
  const batches = loader.epoch({ batchSize: 4, imageSide: 16, order: sequentialOrder(4) });
  await assert.rejects(
    batches.next(),
    /2\.jpg \(line 2 of ijbc_face_tid_mid\.txt\): cannot be read \(landmark \d at \(.*\) is far outside of the picture of 12 × 10\)\n {2}hint: unpack the benchmark again/,
  );
});
