import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { Interrupted } from '../base/errors.ts';
import { loadExperiment } from './experiment.ts';
import { runStages } from './stages.ts';

test('an experiment that is told to stop does not begin the next stage, and goes on behind the last', async (t) => {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [4, 4, 4, 4] });
  const file = join(folder, 'experiment.yaml');
  const of = join(folder, 'set');
  writeFileSync(
    file,
    JSON.stringify({
      title: 'two stages',
      stages: { first: { do: 'sample', of, perClass: 3 }, second: { do: 'sample', of: 'first', perClass: 2 } },
    }),
  );
  const experiment = loadExperiment(file, []);
  const out = join(folder, 'out');
  const options = { out, dataFolder: folder, force: false, workers: 0 };
  const done = (id: string): boolean => existsSync(join(out, '.stages', `${id}.json`));
  // told while the first stage runs
  const signal = { get aborted() { return existsSync(out); } } as AbortSignal; // biome-ignore format: short
  await assert.rejects(
    runStages(experiment, { ...options, signal }),
    (error) => error instanceof Interrupted && /stopped before stage second/.test(error.message),
  );
  assert.deepEqual([done('first'), done('second')], [true, false]);
  await runStages(experiment, { ...options, signal: new AbortController().signal });
  assert.ok(done('second'));
});
