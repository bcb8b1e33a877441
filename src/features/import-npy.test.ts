// Arrays and ids of other systems: what is taken, in which order it comes to lie, and what is refused by name.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readDamaged, writeAnew } from '../../test/helpers/damage.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { foreignNpy } from '../../test/helpers/foreign.ts';
import { pattern, writeTinySet } from '../../test/helpers/images.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { Rng } from '../base/rng.ts';
import { encodePgm } from '../data/decode.ts';
import { openDataset } from '../data/index.ts';
import { ForeignNpy } from './foreign-npy.ts';
import { readIdFile } from './id-file.ts';
import { boundaries, classPrototypes, denoise, FeatureSet, importNpy, type NpyImport, readNpy } from './index.ts';

/** Writes files to a folder and imports them. */
function importer(t: TestContext) {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const said = reportsOf(t);
  let sets = 0;
  return {
    at,
    write: (name: string, bytes: Uint8Array | string) => writeFileSync(at(name), bytes),
    text: () => said.text(),
    take: async (names: NpyImport, options: { allowMissing?: boolean } = {}) => {
      const paths = Object.fromEntries(Object.entries(names).map(([key, name]) => [key, at(name!)]));
      const out = at(`set${sets++}`);
      await importNpy(paths as NpyImport, out, options);
      const set = FeatureSet.open(out);
      t.after(() => set.close());
      return set;
    },
  };
}

const values = [1.5, -2, 3, 0, 0.25, -1e9, 7, 8, 2 ** -20];

test('features of every float type, byte order and element order come in as the same rows', async (t) => {
  const { write, take, text } = importer(t);
  write('l.npy', foreignNpy('<i8', [3], [0n, 1n, 1n]));
  for (const order of ['<', '>'])
    for (const type of ['f4', 'f8'])
      for (const fortran of [false, true]) {
        write('f.npy', foreignNpy(`${order}${type}`, [3, 3], values, { fortran }));
        const set = await take({ features: 'f.npy', labels: 'l.npy' });
        assert.deepEqual([...set.all()], values.map(Math.fround), `${order}${type} ${fortran}`);
        assert.equal(set.info.dtype, 'float32');
      }
  assert.match(text(), /f\.npy: float64, big-endian, in Fortran order; stored as float32 in C order/);
  const halves = [0x3c00, 0xc000, 0x7bff, 0x0001, 0x3555, 0]; // 1, -2, 65504, 2⁻²⁴, about a third, 0
  for (const [descr, fortran] of [
    ['<f2', false],
    ['>f2', false],
    ['>f2', true],
  ] as const) {
    // biome-ignore format: short
    write('f.npy', foreignNpy(descr, [3, 2], halves, { fortran }));
    const set = await take({ features: 'f.npy', labels: 'l.npy' });
    assert.equal(set.info.dtype, 'float16');
    assert.deepEqual([...readNpy(join(set.path, 'features.npy'), ['<f2']).data], halves);
  }
});

test('large arrays in Fortran order are read by blocks to the same rows', (t) => {
  const path = join(testFolder(t), 'f.npy');
  const rng = new Rng('fortran');
  const [rows, dim] = [1000, 7];
  const numbers = Array.from({ length: rows * dim }, () => Math.fround(rng.uniform()));
  writeFileSync(path, foreignNpy('>f8', [rows, dim], numbers, { fortran: true }));
  using file = new ForeignNpy(path);
  const seen: number[] = [];
  for (let from = 0; from < rows; from += 64) seen.push(...file.rows(from, Math.min(64, rows - from)));
  assert.deepEqual(seen, numbers);
});

test('class and family ids of any whole type and shape are taken', async (t) => {
  const { write, take } = importer(t);
  write('f.npy', foreignNpy('<f4', [3, 3], values));
  for (const type of ['i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8'])
    for (const order of ['<', '>'])
      for (const shape of [[3], [3, 1], [3, 1, 1]]) {
        const ids = [1, 0, 1].map((id) => (type.endsWith('8') ? BigInt(id) : id));
        write('l.npy', foreignNpy(`${order}${type}`, shape, ids, { fortran: shape.length > 1 }));
        const set = await take({ features: 'f.npy', labels: 'l.npy', families: 'l.npy' });
        assert.deepEqual([...set.labels(), ...set.families()], [1, 0, 1, 1, 0, 1]);
        assert.equal(set.classIds(), null);
      }
  const refused = async (bytes: Uint8Array, problem: RegExp): Promise<void> => {
    write('l.npy', bytes);
    await assert.rejects(take({ features: 'f.npy', labels: 'l.npy' }), problem);
  };
  await refused(foreignNpy('<i8', [4], [0n, 1n, 1n, 0n]), /l\.npy: has shape \[4\], wanted \[3\]/);
  await refused(foreignNpy('<i8', [3, 2], [0n, 1n, 1n, 0n, 1n, 1n]), /has shape \[3, 2\], wanted \[3\]/);
  await refused(foreignNpy('<f8', [3], [0, 1, 1]), /holds float64, wanted whole numbers\n.*int64/);
  await refused(foreignNpy('<u8', [3], [0n, 2n ** 63n, 1n]), /entry 1 is 9223372036854775808/);
  const text = foreignNpy('<i8', [3], [0n, 1n, 1n]).toString('latin1').replace('<i8', '<U2');
  await refused(Buffer.from(text, 'latin1'), /l\.npy: holds <U2 \(text\), wanted numbers/);
  await refused(Buffer.from(text.replace('<U2', '|b1'), 'latin1'), /holds \|b1 \(true or false\), wanted numbers/);
});

test('features that cannot be features are refused with row, id and number', async (t) => {
  const { write, take, at } = importer(t);
  write('l.npy', foreignNpy('<i8', [3], [0n, 1n, 1n]));
  write('ids.txt', 'a/1\nb/1\nb/2\n');
  const refused = async (bytes: Uint8Array, problem: RegExp): Promise<void> => {
    write('f.npy', bytes);
    await assert.rejects(take({ features: 'f.npy', labels: 'l.npy', ids: 'ids.txt' }), problem);
  };
  const spoilt = (value: number) => values.with(4, value);
  await refused(foreignNpy('<f8', [3, 3], spoilt(1e39)), /f\.npy: row 1 \(b\/1\) holds 1e\+39\n.*range of float32/);
  await refused(foreignNpy('>f8', [3, 3], spoilt(Number.NaN), { fortran: true }), /row 1 \(b\/1\) holds NaN/);
  await refused(foreignNpy('<f4', [3, 3], spoilt(Number.NEGATIVE_INFINITY)), /row 1 \(b\/1\) holds -Infinity/);
  await refused(foreignNpy('<i4', [3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]), /holds int32, wanted floats\n.*float32/);
  await refused(foreignNpy('<f4', [9], values), /has shape \[9\], wanted \[N, D\]/);
  await refused(foreignNpy('<f4', [3, 3], values).subarray(0, 150), /cut short/);
  assert.ok(!readdirSync(at('.')).some((name) => name.includes('set')), 'nothing is left');
});

test('person numbers of any size become classes 0 … C-1, their ids are kept, and nothing is allocated by them', async (t) => {
  const { write, take, text } = importer(t);
  const rng = new Rng('persons');
  const persons = [2_000_000_000, 17, 999, 4_000_000_000_000];
  const numbers = Array.from({ length: 40 }, (_, i) => persons[i % 4]!);
  write('f.npy', foreignNpy('<f4', [40, 4], Array.from({ length: 160 }, () => rng.uniform() + 0.1))); // biome-ignore format: short
  write('l.npy', foreignNpy('<i8', [40], numbers.map(BigInt)));
  const set = await take({ features: 'f.npy', labels: 'l.npy' });
  assert.equal(set.info.classes, 4);
  assert.deepEqual(set.classIds(), BigInt64Array.of(17n, 999n, 2_000_000_000n, 4_000_000_000_000n));
  assert.deepEqual(
    Array.from(set.labels(), (label) => Number(set.classIds()![label])),
    numbers,
  );
  assert.match(text(), /l\.npy: 4 classes are numbered 0 … 3; their ids are kept in class-ids\.npy/);
  assert.equal(classPrototypes(set).length, 4 * 4);
  assert.deepEqual([...boundaries(set).kept].every((kept) => kept > 0), true); // biome-ignore format: short
  assert.equal(denoise(set, { keep: 0.5 }).reduce((a, b) => a + b), 4 * 5); // biome-ignore format: short
});

test('a set that states far more classes than it has rows is refused before anything is allocated', () => {
  const rows = {
    info: { dim: 2, count: 3, classes: 2_000_000_001 },
    path: 'features/old',
    rows: () => Float32Array.of(1, 2, 3, 4, 5, 6),
    labels: () => Int32Array.of(0, 2_000_000_000, 5),
  };
  for (const rule of ['distance', 'entropy'] as const)
    assert.throws(() => denoise(rows, { keep: 0.9, rule }), /features\/old: states 2000000001 classes for 3 rows\n.*import-features/); // biome-ignore format: short
  assert.throws(() => classPrototypes(rows), /2000000001 classes for 3 rows/);
  assert.throws(() => boundaries(rows), /2000000001 classes for 3 rows/);
});

/** A folder of images a/0 … a/2, b/0 … b/2, and its embeddings: the number of the image, twice. */
function pictures(folder: string): { data: string; ids: string[] } {
  const data = join(folder, 'pictures');
  const ids = ['a', 'b'].flatMap((label) => [0, 1, 2].map((i) => `${label}/${i}.pgm`));
  for (const label of ['a', 'b']) mkdirSync(join(data, label), { recursive: true });
  for (const [i, id] of ids.entries()) writeFileSync(join(data, id), encodePgm(pattern(i, 0, 16), 16, 16));
  return { data, ids };
}

test('rows in another order than the dataset are brought into it by their ids', async (t) => {
  const { write, take, at } = importer(t);
  const { ids } = pictures(at('.'));
  const order = [4, 5, 0, 3, 2, 1];
  const rows = order.flatMap((i) => [i + 1, i + 0.5]);
  write('ids.txt', `\ufeff${order.map((i) => ids[i]).join('\r\n')}`);
  write('ids.jsonl', order.map((i) => `${JSON.stringify(ids[i])}\n`).join(''));
  write('l.npy', foreignNpy('<i4', [6], order.map((i) => (i < 3 ? 0 : 1)))); // biome-ignore format: short
  write('families.npy', foreignNpy('<i4', [6], order));
  using dataset = openDataset(at('pictures'));
  for (const file of ['ids.txt', 'ids.jsonl'])
    for (const fortran of [false, true])
      for (const labels of [undefined, 'l.npy']) {
        write('f.npy', foreignNpy('<f8', [6, 2], rows, { fortran }));
        const set = await take({
          ...{ features: 'f.npy', ids: file, dataset: 'pictures', families: 'families.npy' },
          ...(labels && { labels }),
        });
        assert.deepEqual([...set.all()], [1, 0.5, 2, 1.5, 3, 2.5, 4, 3.5, 5, 4.5, 6, 5.5]);
        assert.deepEqual([...set.labels(), ...set.families()], [0, 0, 0, 1, 1, 1, 0, 1, 2, 3, 4, 5]);
        assert.deepEqual([set.id(4), set.name(4), set.info.dataset?.digest], ['b/1.pgm', 'row 4 (b/1.pgm)', dataset.digest]); // biome-ignore format: short
        assert.ok(!existsSync(join(set.path, 'rows.npy')));
      }
  write('l.npy', foreignNpy('<i4', [6], [1, 1, 0, 0, 0, 0]));
  await assert.rejects(
    take({ features: 'f.npy', labels: 'l.npy', ids: 'ids.txt', dataset: 'pictures' }),
    /l\.npy: entry 3 is class 0, image b\/0\.pgm of .*pictures is of class 1/,
  );
});

test('ids that are unknown, doubled, absent or too few are errors that name some of them; absent ones may be missing', async (t) => {
  const { write, take, at } = importer(t);
  const { ids } = pictures(at('.'));
  const paths = { features: 'f.npy', ids: 'ids.txt', dataset: 'pictures' };
  const given = (names: readonly string[]): void => {
    write('ids.txt', names.map((name) => `${name}\n`).join(''));
    write('f.npy', foreignNpy('<f4', [names.length, 2], names.flatMap((_, i) => [i + 1, 1]))); // biome-ignore format: short
  };
  given(ids.with(2, 'c/7.pgm').with(3, 'c/8.pgm'));
  await assert.rejects(take(paths), /ids\.txt: 2 of 6 ids are of no image of .*: c\/7\.pgm, c\/8\.pgm\n.*a\/0\.pgm/);
  await assert.rejects(take(paths, { allowMissing: true }), /2 of 6 ids are of no image/);
  given(ids.with(2, 'a/0.pgm'));
  await assert.rejects(take(paths), /ids\.txt: names 1 ids twice: a\/0\.pgm/);
  given(ids.with(2, ''));
  await assert.rejects(take(paths), /ids\.txt: line 3 is empty/);
  given(ids);
  write('f.npy', foreignNpy('<f4', [5, 2], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
  await assert.rejects(take(paths), /ids\.txt: holds 6 ids, wanted 5/);
  given(['b/2.pgm', 'a/1.pgm']);
  await assert.rejects(
    take(paths),
    /has no id for 4 of 6 images of .*: a\/0\.pgm, a\/2\.pgm, b\/0\.pgm, …\n.*--allow-missing/,
  );
  const set = await take(paths, { allowMissing: true });
  assert.deepEqual([...set.missing()], [0, 2, 3, 4]);
  assert.deepEqual([...set.all()], [0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
  assert.match(set.info.missing[0]!.id, /^a\/0\.pgm$/);
  await assert.rejects(take({ features: 'f.npy', dataset: 'pictures' }), /comes without class ids and ids\n.*--labels or --ids/); // biome-ignore format: short
  await assert.rejects(take({ features: 'f.npy', ids: 'ids.txt' }), /comes without class ids\n/);
});

test('families are those of the dataset, unless others are given for a row', async (t) => {
  const { write, take, at } = importer(t);
  await writeTinySet(at('set'), { perClass: [3, 2], families: 3 });
  using dataset = openDataset(at('set'));
  write('l.npy', foreignNpy('<i8', [5], [...dataset.labels()].map(BigInt)));
  write('f.npy', foreignNpy('<f4', [5, 1], [1, 2, 3, 4, 5]));
  const whole = await take({ features: 'f.npy', labels: 'l.npy', dataset: 'set' });
  assert.deepEqual(whole.families(), dataset.families());
  assert.deepEqual([...whole.families()], [0, 1, 2, 0, 1]);
  write('f.npy', foreignNpy('<f4', [3, 1], [1, 2, 3]));
  write('ids.txt', [4, 3, 1].map((i) => dataset.id(i)).join('\n'));
  write('families.npy', foreignNpy('<i4', [3], [7, -1, 8]));
  const some = { features: 'f.npy', ids: 'ids.txt', dataset: 'set' };
  const own = await take(some, { allowMissing: true });
  assert.deepEqual([...own.families()], [0, 1, 2, 0, 1]);
  const given = await take({ ...some, families: 'families.npy' }, { allowMissing: true });
  assert.deepEqual([...given.families()], [0, 8, 2, -1, 7], 'a missing row keeps its own');
});

test('ids without a dataset are kept with the rows', async (t) => {
  const { write, take } = importer(t);
  write('f.npy', foreignNpy('<f4', [3, 3], values));
  write('l.npy', foreignNpy('<i8', [3], [0n, 1n, 1n]));
  write('ids.txt', 'anna/3.jpg\n"bert" \\ 1\n名\n');
  const set = await take({ features: 'f.npy', labels: 'l.npy', ids: 'ids.txt' });
  assert.deepEqual([0, 1, 2].map((row) => set.id(row)), ['anna/3.jpg', '"bert" \\ 1', '名']); // biome-ignore format: short
  const without = await take({ features: 'f.npy', labels: 'l.npy' });
  assert.deepEqual([without.id(1), without.name(1)], [null, 'row 1']);
});

test('damaged foreign arrays and id files are refused, or give as many elements as they say', (t) => {
  const folder = testFolder(t);
  const [array, ids] = [join(folder, 'x.npy'), join(folder, 'x.jsonl')];
  const arrays = [
    foreignNpy('>f8', [3, 2], [1, 2, 3, 4, 5, 6], { fortran: true }),
    foreignNpy('<f4', [2, 3], [1, 2, 3, 4, 5, 6]),
    foreignNpy('>i2', [4, 1], [1, 2, 3, 4]),
    foreignNpy('<u8', [3], [1n, 2n, 3n]),
  ];
  const counts = readDamaged(arrays, (damaged) => {
    writeAnew(array, damaged);
    using file = new ForeignNpy(array);
    const elements = file.shape.reduce((product, n) => product * n, 1);
    assert.ok(elements * file.width <= damaged.length);
    if (file.kind !== 'f') assert.equal(file.integers().length, elements);
    else if (file.shape.length === 2) assert.equal(file.rows(0, file.shape[0]!).length, elements);
  });
  assert.ok(counts.read > 100 && counts.refused > 500, JSON.stringify(counts));
  const lists = readDamaged([Buffer.from('"a/1"\n"a/2"\n"b/\\u00e9"\n')], (damaged) => {
    writeAnew(ids, damaged);
    assert.equal(new Set(readIdFile(ids, 3)).size, 3);
  });
  assert.ok(lists.read > 10 && lists.refused > 100, JSON.stringify(lists));
});

test('rows of zeros that are not marked missing are told when a set is written', async (t) => {
  const { write, take, text, at } = importer(t);
  write('l.npy', foreignNpy('<i8', [4], [0n, 0n, 1n, 1n]));
  write('f.npy', foreignNpy('<f4', [4, 2], [0, 0, 0, 1, 0, 0, 2, 0]));
  await take({ features: 'f.npy', labels: 'l.npy' });
  assert.match(text(), /set0: 2 of 4 rows are zeros, which are no embeddings, and are not marked missing/);
  const { ids } = pictures(at('.'));
  write('five.npy', foreignNpy('<f4', [5, 2], [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]));
  write('ids.txt', ids.slice(1).join('\n'));
  await take({ features: 'five.npy', ids: 'ids.txt', dataset: 'pictures' }, { allowMissing: true });
  assert.doesNotMatch(text(), /set1: .* rows are zeros/, 'a missing row is told as such');
});
