// The stages that carry a model out: `embed` and `export`, from an experiment file.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkpointPath, checkpoints } from '../../test/helpers/checkpoints.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeImages } from '../../test/helpers/image-tree.ts';
import { fileDigest } from '../artifacts/digest.ts';
import { readJson } from '../artifacts/json-file.ts';
import { describePath } from '../info/describe.ts';
import { importModel } from '../runs/import-model.ts';
import { embedPaths } from './embed.ts';
import { runExperiment } from './run-experiment.ts';

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
