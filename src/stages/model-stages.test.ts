// The stages that carry a model out: `embed` and `export`, from an experiment file.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkpointPath, checkpoints } from '../../test/helpers/checkpoints.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeImages } from '../../test/helpers/image-tree.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { fileDigest } from '../artifacts/digest.ts';
import { readJson } from '../artifacts/json-file.ts';
import { Interrupted } from '../base/errors.ts';
import { FeatureSet } from '../features/index.ts';
import { describePath } from '../info/describe.ts';
import { importModel } from '../runs/import-model.ts';
import { readRunManifest } from '../runs/load-model.ts';
import { embedPaths } from './embed.ts';
import { runExperiment } from './run-experiment.ts';
import { runTogether } from './together.ts';

/** Batches of another size round otherwise in bf16, whose 8 bits embeddings of order 1 have. */
const HALF = 2 ** -5;

const MBF = checkpoints.networks.find(({ network }) => network === 'mbf')!;

test('an experiment embeds pictures and exports the model; a second run finds both done', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  await importModel(checkpointPath(MBF.file), MBF, at('run'));
  mkdirSync(at('photos'));
  writeImages(at('photos'), ['a.pgm', 'b.pgm', 'c/d.pgm'], MBF.side);
  const write = (format: string) =>
    writeFileSync(
      at('x.yaml'),
      `title: x\nstages:\n  vectors: { do: embed, model: ${at('run')}, images: [${at('photos')}], format: ${format} }\n  file: { do: export, model: ${at('run')}, to: safetensors, half: true }\n`,
    );
  write('jsonl');
  const options = { out: at('out'), dataFolder: at('data'), workers: 0 };
  const { places } = await runExperiment(at('x.yaml'), options);
  await embedPaths({ model: at('run'), paths: [at('photos')], out: at('alone.jsonl'), workers: 0 });
  const made = join(places['vectors']!, 'embeddings.jsonl');
  assert.ok(readFileSync(made).equals(readFileSync(at('alone.jsonl'))));
  assert.deepEqual(readdirSync(places['file']!).sort(), ['manifest.json', 'model.safetensors', 'model.safetensors.model-card.md']); // biome-ignore format: short
  const manifest = readJson(join(places['file']!, 'manifest.json')) as {
    readonly digest: string;
    readonly dim: number;
  };
  assert.equal(manifest.digest, fileDigest(join(places['file']!, 'model.safetensors')));
  assert.equal(manifest.dim, MBF.embeddingDim);
  for (const place of Object.values(places)) assert.match(JSON.stringify(await describePath(place)), /mbf|run/);
  const before = readFileSync(join(places['vectors']!, 'manifest.json'), 'utf8');
  await runExperiment(at('x.yaml'), options);
  assert.equal(readFileSync(join(places['vectors']!, 'manifest.json'), 'utf8'), before);
  write('parquet');
  await assert.rejects(runExperiment(at('x.yaml'), options), /stage vectors was made with different options/);
  await runExperiment(at('x.yaml'), { ...options, force: true });
  assert.deepEqual(readdirSync(places['vectors']!).sort(), ['embeddings.parquet', 'embeddings.parquet.json', 'manifest.json']); // biome-ignore format: short
});

test('stages say in what precision and by how many processes they compute, and in what features are kept', async (t) => {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [4, 4, 4, 4] });
  const recipe = { network: { name: 'r18', embeddingDim: 8, inputSide: 16, width: 1 / 16 }, head: { kind: 'softmax' }, epochs: 1, batchSize: 8, precision: 'bf16' }; // biome-ignore format: short
  const extract = { do: 'extract', model: 'model', of: join(folder, 'set') };
  const write = (changes: object, ...train: object[]) => {
    const model = Object.assign({ do: 'train', on: join(folder, 'set'), recipe, processes: 2 }, ...train);
    const kept = { ...extract, half: true, precision: 'bf16' };
    const together = { ...kept, processes: 2, ...changes };
    writeFileSync(join(folder, 'x.json'), JSON.stringify({ title: 'x', stages: { model, kept, together } }));
  };
  const run = () => runExperiment(join(folder, 'x.json'), { out: join(folder, 'out'), workers: 0 });
  for (const [changes, train, wanted] of [
    [{ precision: 'auto' }, {}, /x\.json: stage together: several processes might each choose another one/],
    [{ precision: 'half' }, {}, /stages\.together\.precision.*"float32"\|"bf16"\|"fp16"\|"auto"/],
    [{ half: 1 }, {}, /stages\.together\.half: .*boolean/],
    [{ processes: 0 }, {}, /stages\.together\.processes: .*>=1/],
    [{}, { processes: 1.5 }, /stages\.model\.processes: .*int/],
    [{}, { recipe: { ...recipe, precision: 'double' } }, /stage model.*\n.*precision/],
  ] as const) {
    write(changes, train);
    await assert.rejects(run(), wanted);
  }
  write({});
  const reports = reportsOf(t);
  const { places } = await run();
  assert.match(reports.text(), /\[0\] .*model trained in 2 steps/, 'what a process says is news of the stage');
  const { processes, recipe: made } = readRunManifest(places['model']!);
  assert.deepEqual([processes, made.precision, made.seed], [2, 'bf16', 0]);
  const sets = [FeatureSet.open(places['kept']!), FeatureSet.open(places['together']!)] as const;
  for (const { info } of sets) assert.deepEqual([info.dtype, info.precision, info.count], ['float16', 'bf16', 16]);
  const [one, two] = sets.map((set) => set.all());
  assert.ok(two!.every((value, i) => Math.abs(value - one![i]!) < HALF));
  for (const set of sets) set[Symbol.dispose]();
  await assert.rejects(runTogether(2, ['train', 'x'], AbortSignal.abort()), Interrupted);
});
