// The pages on stages: the code of docs/adding-a-stage.md is a stage, and the table of docs/stages.md is that of the list.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { loadPage } from '../../test/helpers/page.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { stageTable } from '../../test/helpers/stage-table.ts';
import { packageRoot } from '../base/version.ts';
import { loadExperiment } from '../experiment/load.ts';
import { planStages } from '../experiment/plan.ts';
import { runStages } from '../experiment/run.ts';
import type { StageKind } from '../experiment/stage.ts';
import { stages } from './index.ts';

test('the code of the page on adding a stage is a stage that runs beside those of the product', async (t) => {
  const { classSizesStage } = await loadPage<{ readonly classSizesStage: StageKind }>(t, 'adding-a-stage.md');
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [2, 4, 6] });
  const file = join(folder, 'x.yaml');
  const text = `title: x\nstages:\n  some: { do: sample, of: ${folder}/set, perClass: 3 }\n`;
  writeFileSync(file, `${text}  sizes: { do: class-sizes, of: some, least: 3 }\n`);
  const experiment = await loadExperiment(file, { kinds: [...stages, classSizesStage] });
  const options = { out: join(folder, 'out'), dataFolder: folder, force: false, workers: 0 };
  const states = () => planStages(experiment, options).map(({ state }) => state);
  assert.deepEqual(states(), ['new', 'new']);
  const reports = reportsOf(t);
  const places = await runStages(experiment, { ...options, signal: new AbortController().signal });
  assert.match(reports.text(), /\[2\/2\] sizes: count the images of each class of some\n2 classes\n/);
  assert.deepEqual(JSON.parse(readFileSync(join(places.get('sizes')!, 'sizes.json'), 'utf8')), { 1: 3, 2: 3 });
  assert.deepEqual(states(), ['done', 'done']);
});

test('the table of stages in the documentation is that of the list', () => {
  const page = readFileSync(join(packageRoot, 'docs/stages.md'), 'utf8');
  assert.ok(page.includes(`\n${stageTable(stages)}\n`), `wanted in docs/stages.md:\n${stageTable(stages)}`);
});
