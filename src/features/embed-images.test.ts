import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { recordingEncoder, SIDE } from '../../test/helpers/encoder.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeImages } from '../../test/helpers/image-tree.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import type { ImageSet } from '../data/dataset.ts';
import { listImages, unlabelledImages } from '../data/image-list.ts';
import { embeddingPlan, writeShard } from './embedding-shard.ts';
import { EmbeddingsFile, embedImages, embedShard, mergeShards, readNpy, writeEmbeddingFiles } from './index.ts';

const IMAGES = 26;
const options = { batchSize: 4, workers: 0 } as const;

/** A folder of 26 images, and beside it one for what is made of them. */
async function folders(
  t: TestContext,
): Promise<{ photos: string; at: (name: string) => string; images: () => Promise<ImageSet> }> {
  const folder = testFolder(t);
  const photos = join(folder, 'photos');
  writeImages(
    photos,
    Array.from({ length: IMAGES }, (_, i) => `${i % 5}/${i}.pgm`),
    SIDE,
  );
  mkdirSync(join(folder, 'made'));
  return {
    photos,
    at: (name) => join(folder, 'made', name),
    images: async () => unlabelledImages(await listImages([photos]), photos),
  };
}

/** Everything in the folder of an output that is named after it, by name, with `stem` for its own. */
function filesOf(out: string): Record<string, string> {
  const stem = basename(out).replace(/\.[a-z]+$/, '');
  const names = readdirSync(resolve(out, '..')).filter((name) => name.includes(stem) && !name.includes('.shard-'));
  return Object.fromEntries(
    names.map((name) => [name.replace(stem, 'stem'), readFileSync(join(out, '..', name), 'latin1')]),
  );
}

function killed(photos: string, out: string, batches: number, shard?: number): void {
  const script = resolve(import.meta.dirname, '../../test/helpers/embed-until-killed.js');
  const more = shard === undefined ? [] : [String(shard)];
  const { signal, stderr } = spawnSync(process.execPath, [script, photos, out, String(batches), ...more], { encoding: 'utf8' }); // biome-ignore format: short
  assert.equal(signal, 'SIGKILL', stderr);
}

test('.npy, .jsonl and .parquet hold the same ids and numbers, and a description', async (t) => {
  const { at, images } = await folders(t);
  const set = await images();
  for (const name of ['x.npy', 'x.jsonl', 'x.parquet']) {
    const info = await embedImages(set, recordingEncoder().encoder, { ...options, out: at(name) });
    assert.deepEqual([info.count, info.skipped, info.dim, info.model.digest], [IMAGES, 0, 2, 'a model']);
    assert.deepEqual(JSON.parse(readFileSync(at(`${name}.json`), 'utf8')), info);
  }
  const ids = Array.from({ length: IMAGES }, (_, i) => set.id(i));
  const { data, shape } = readNpy(at('x.npy'), ['<f4']);
  assert.deepEqual(shape, [IMAGES, 2]);
  const lines = (path: string): unknown[] => readFileSync(path, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line)); // biome-ignore format: short
  assert.deepEqual(lines(at('x.ids.jsonl')), ids);
  const objects = lines(at('x.jsonl')) as { id: string; embedding: number[] }[];
  const file = await asyncBufferFromFile(at('x.parquet'));
  const rows = await parquetReadObjects({ file });
  for (const found of [objects, rows]) {
    assert.deepEqual(found.map(({ id }) => id), ids); // biome-ignore format: short
    assert.deepEqual(found.flatMap(({ embedding }) => Array.from(embedding as number[], Math.fround)), [...data]); // biome-ignore format: short
  }
  const { key_value_metadata: pairs, created_by: maker } = await parquetMetadataAsync(file);
  assert.match(maker!, /^mixbct version /);
  assert.equal(JSON.parse(pairs!.find(({ key }) => key === 'mixbct')!.value!).model.digest, 'a model');
  assert.ok(!readdirSync(at('.')).some((name) => name.startsWith('.')), 'nothing is left beside them');
});

test('a file that fails to be written leaves the former one, its ids and its description; mixtures of two are refused', async (t) => {
  const { at, images } = await folders(t);
  const set = await images();
  const info = await embedImages(set, recordingEncoder().encoder, { ...options, out: at('x.npy') });
  const before = filesOf(at('x.npy'));
  const ids = Array.from({ length: IMAGES }, (_, i) => `other ${i}`);
  const rows = new Float32Array(2 * IMAGES).fill(0.5);
  const write = (blocks: Iterable<{ ids: string[]; rows: Float32Array }>) =>
    writeEmbeddingFiles(at('x.npy'), info, { ids, blocks, skipped: [] });
  function* failing() {
    yield { ids, rows: rows.subarray(0, 2) };
    throw new Error('the disk is full');
  }
  assert.throws(() => write(failing()), /the disk is full/);
  assert.deepEqual(filesOf(at('x.npy')), before);
  const names = ['npy', 'ids.jsonl', 'npy.json'];
  const former = names.map((name) => readFileSync(at(`x.${name}`)));
  assert.deepEqual(
    JSON.parse(JSON.stringify(write([{ ids, rows }]))),
    JSON.parse(readFileSync(at('x.npy.json'), 'utf8')),
  );
  new EmbeddingsFile(at('x.npy')).close();
  for (const [i, name] of names.entries()) {
    const latter = readFileSync(at(`x.${name}`));
    writeFileSync(at(`x.${name}`), former[i]!);
    assert.throws(
      () => new EmbeddingsFile(at('x.npy')),
      /x\.(npy|ids\.jsonl): was changed or damaged since it was made/,
      name,
    );
    writeFileSync(at(`x.${name}`), latter);
  }
  const { digests: _, ...older } = info;
  writeFileSync(at('x.npy.json'), JSON.stringify(older));
  new EmbeddingsFile(at('x.npy')).close();
});

test('half precision is stored as float16 in a .npy', async (t) => {
  const { at, images } = await folders(t);
  await embedImages(await images(), recordingEncoder().encoder, { ...options, out: at('x.npy'), half: true });
  const { shape, type } = readNpy(at('x.npy'), ['<f2']);
  assert.deepEqual([shape, type], [[IMAGES, 2], '<f2']);
});

test('shards, killed and resumed, in any order, merge into the bytes of one process', async (t) => {
  const { photos, at, images } = await folders(t);
  const set = await images();
  for (const ending of ['npy', 'jsonl', 'parquet']) {
    await embedImages(set, recordingEncoder().encoder, { ...options, out: at(`one.${ending}`) });
    const out = at(`many.${ending}`);
    const paths: string[] = [];
    for (const shard of [3, 1, 2]) {
      if (ending === 'npy' && shard !== 2) killed(photos, out, 1, shard);
      const { encoder, batches } = recordingEncoder();
      const info = await embedShard(set, encoder, { shard, shards: 3 }, { ...options, out });
      paths.push(`${out}.shard-${shard}-of-3`);
      assert.equal(
        batches.length,
        Math.ceil(info.count / 4) - (ending === 'npy' && shard !== 2 ? 1 : 0),
        'a batch of the killed one is kept',
      );
    }
    mergeShards(paths, out);
    assert.deepEqual(filesOf(out), filesOf(at(`one.${ending}`)));
  }
});

test('more shards than batches, some of them empty, merge too', async (t) => {
  const { at, images } = await folders(t);
  const set = await images();
  await embedImages(set, recordingEncoder().encoder, { ...options, out: at('one.npy') });
  const counts: number[] = [];
  const paths: string[] = [];
  for (let shard = 1; shard <= 9; shard++) {
    const info = await embedShard(set, recordingEncoder().encoder, { shard, shards: 9 }, { ...options, out: at('many.npy') }); // biome-ignore format: short
    counts.push(info.count);
    paths.push(at(`many.npy.shard-${shard}-of-9`));
  }
  assert.equal(counts.reduce((sum, n) => sum + n), IMAGES); // biome-ignore format: short
  assert.ok(counts.includes(0));
  mergeShards(paths, at('many.npy'));
  assert.deepEqual(filesOf(at('many.npy')), filesOf(at('one.npy')));
});

test('a killed process goes on to the same bytes, before the first image that has changed since', async (t) => {
  const { photos, at, images } = await folders(t);
  const set = await images();
  await embedImages(set, recordingEncoder().encoder, { ...options, out: at('one.npy') });
  for (const [changed, left] of [[IMAGES - 1, 4], [6, 6], [0, 7]] as const) {
    const out = at(`cut${changed}.npy`);
    killed(photos, out, 3);
    utimesSync(set.name(changed), 1e6 + changed, 1e6 + changed);
    const { encoder, batches } = recordingEncoder();
    const reports = reportsOf(t);
    await embedImages(await images(), encoder, { ...options, out });
    assert.equal(batches.length, left);
    if (changed === 6) assert.match(reports.text(), /goes on from row 4 of 26/);
    reports.restore();
    assert.deepEqual(filesOf(out), filesOf(at('one.npy')));
  } // biome-ignore format: a table
});

test('rows that a failed attempt finished are taken for unchanged images alone, and shards for lists of the same paths', async (t) => {
  const { at, images } = await folders(t);
  const set = await images();
  const out = at('x.npy');
  /** What an attempt leaves that fails when it writes the file. */
  const leaveRows = async (): Promise<void> => {
    const { encoder } = recordingEncoder();
    const how = { ...options, shard: 1, force: true, keepFinished: 'unchanged', copies: 2, inputs: [] } as const;
    await writeShard(at('.x.npy.rows'), set, encoder, embeddingPlan(set, encoder, options, 1), how);
  };
  const embedded = async (from: ImageSet): Promise<number> => {
    const { encoder, batches } = recordingEncoder();
    await embedImages(from, encoder, { ...options, out, force: true });
    return batches.length;
  };
  const all = Math.ceil(IMAGES / 4);
  await leaveRows();
  assert.equal(await embedded(set), 0);
  await leaveRows();
  utimesSync(set.name(6), 1e6, 1e6);
  assert.equal(await embedded(await images()), all);
  await leaveRows();
  const named = (shift: number): ImageSet => ({
    ...set,
    id: (i) => `image ${i}`,
    name: (i) => set.name((i + shift) % IMAGES),
  });
  assert.equal(
    await embedded({ ...named(0), id: (i) => set.id(i), name: named(1).name }),
    all,
    'the same ids, other paths',
  );
  for (const shard of [1, 2])
    await embedShard(named(shard), recordingEncoder().encoder, { shard, shards: 2 }, { ...options, out: at('y.npy') });
  const shards = [1, 2].map((shard) => at(`y.npy.shard-${shard}-of-2`));
  assert.throws(() => mergeShards(shards, at('y.npy')), /are no shards of one list: paths differ/);
  rmSync(shards[1]!, { recursive: true });
  await embedShard(named(1), recordingEncoder().encoder, { shard: 2, shards: 2 }, { ...options, out: at('y.npy') });
  mergeShards(shards, at('y.npy'));
});

test('an unreadable image stops the work, unless it may be skipped: then a file lists it and the rows have only the others', async (t) => {
  const { at, images } = await folders(t);
  const set = await images();
  await embedImages(set, recordingEncoder().encoder, { ...options, out: at('whole.npy') });
  const [good, bad, lost] = [readFileSync(set.name(9)), set.name(9), set.name(20)];
  writeFileSync(bad, 'P5 broken');
  const embed = (out: string, more = {}) => embedImages(set, recordingEncoder().encoder, { ...options, out: at(out), ...more }); // biome-ignore format: short
  await assert.rejects(embed('x.npy'), (error: Error) => error.message.includes(`${bad}: cannot be read`));
  renameSync(lost, `${lost}.away`);
  await assert.rejects(embed('x.npy'), (error: Error) => /1 image is not there:\n/.test(error.message) && error.message.includes(lost)); // biome-ignore format: short
  assert.ok(!existsSync(at('x.npy')));
  const { count, skipped } = await embed('x.npy', { skipBadImages: true });
  assert.deepEqual([count, skipped], [IMAGES - 2, 2]);
  const [whole, found] = [readNpy(at('whole.npy'), ['<f4']), readNpy(at('x.npy'), ['<f4'])];
  const kept = Array.from({ length: IMAGES }, (_, i) => i).filter((i) => i !== 9 && i !== 20);
  assert.deepEqual(
    [...found.data],
    kept.flatMap((i) => [...whole.data.subarray(2 * i, 2 * i + 2)]),
  );
  const listed = readFileSync(at('x.npy.skipped.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(listed.map(({ id }) => id), [bad, lost]); // biome-ignore format: short
  const paths = [1, 2].map((shard) => at(`many.npy.shard-${shard}-of-2`));
  for (const shard of [1, 2]) await embedShard(set, recordingEncoder().encoder, { shard, shards: 2 }, { ...options, skipBadImages: true, out: at('many.npy') }); // biome-ignore format: short
  mergeShards(paths, at('many.npy'));
  assert.deepEqual(filesOf(at('many.npy')), filesOf(at('x.npy')));
  writeFileSync(bad, good);
  renameSync(`${lost}.away`, lost);
});

test('shards that are missing, unfinished, given twice, damaged or of another list are named', async (t) => {
  const { photos, at, images } = await folders(t);
  const set = await images();
  const out = at('x.npy');
  const path = (shard: number): string => `${out}.shard-${shard}-of-3`;
  const shard = (n: number, more = {}, from = set) => embedShard(from, recordingEncoder().encoder, { shard: n, shards: 3 }, { ...options, out, ...more }); // biome-ignore format: short
  await shard(1);
  killed(photos, out, 1, 2);
  const merge =
    (...paths: string[]) =>
    () =>
      mergeShards(paths, out);
  assert.throws(merge(path(1)), /2 shards are missing: 2 of 3 \(.*shard-2-of-3 is unfinished\), 3 of 3\n/);
  assert.throws(merge(path(1), path(2)), /shard-2-of-3: this shard is unfinished/);
  assert.throws(merge(path(1), path(3)), /shard-3-of-3: no such folder, wanted a shard of embeddings/);
  await shard(2);
  await shard(3);
  assert.throws(merge(path(1), path(2), path(1)), /are both shard 1 of 3/);
  assert.throws(merge(path(1), path(2)), /1 shard is missing: 3 of 3 \(.* was not given\)/);
  const reports = reportsOf(t);
  const { encoder, batches } = recordingEncoder();
  await embedShard(set, encoder, { shard: 3, shards: 3 }, { ...options, out });
  assert.match(reports.text(), /shard-3-of-3: is finished already/);
  assert.equal(batches.length, 0);
  await assert.rejects(shard(3, { flip: 'mean' }), /exists already/);
  await shard(3, { flip: 'mean', force: true });
  assert.throws(merge(path(1), path(2), path(3)), /are no shards of one list: flip differ/);
  const fewer = await listImages([photos]);
  await shard(3, { force: true }, unlabelledImages(fewer.slice(1), 'fewer'));
  assert.throws(merge(path(1), path(2), path(3)), /are no shards of one list: total, list differ/);
  await shard(3, { force: true });
  writeFileSync(join(path(2), 'features.npy'), readFileSync(join(path(2), 'features.npy')).fill(1, 130));
  assert.throws(merge(path(1), path(2), path(3)), /features\.npy: was changed or damaged/);
  assert.ok(!existsSync(out));
  rmSync(path(2), { recursive: true });
  await shard(2);
  mergeShards([path(1), path(2), path(3)], out);
  assert.throws(merge(path(1), path(2), path(3)), /exists already/);
});

test('an output has a known ending and replaces nothing but its own kind', async (t) => {
  const { at, images } = await folders(t);
  const set = await images();
  const embed = (out: string, force = false) => embedImages(set, recordingEncoder().encoder, { ...options, out: at(out), force }); // biome-ignore format: short
  await assert.rejects(
    embed('x.csv'),
    /x\.csv: the ending of an output is its format, wanted \.npy, \.jsonl, \.parquet/,
  );
  writeFileSync(at('x.npy'), 'mine');
  await assert.rejects(embed('x.npy'), /exists already/);
  await assert.rejects(embed('x.npy', true), /is not a file of embeddings that mixbct embed wrote/);
  rmSync(at('x.npy'));
  writeFileSync(at('x.ids.jsonl'), 'mine');
  await assert.rejects(embed('x.npy'), /x\.ids\.jsonl is not a file of embeddings/);
  rmSync(at('x.ids.jsonl'));
  await embed('x.npy');
  await assert.rejects(embed('x.npy'), /exists already/);
  await embed('x.npy', true);
});
