import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { Rng } from '../base/rng.ts';
import { type EvaluateOptions, evaluate } from '../eval/index.ts';
import { writeReports } from '../stages/reports.ts';
import { compareArtifacts } from './compare.ts';

const labels = Int32Array.from({ length: 60 }, (_, i) => Math.floor(i / 6));
const rows = (name: string): Float32Array => {
  const rng = new Rng(name);
  return Float32Array.from({ length: labels.length * 4 }, () => rng.uniform());
};

test('two evaluations without new models differ by their tests, their models and the FAR', async (t) => {
  const folder = testFolder(t);
  const judge = async (name: string, more: Partial<EvaluateOptions>): Promise<string> => {
    const evaluation = evaluate({
      ...{ title: 'x', dataset: { path: 'x', digest: 'x' }, labels, families: new Int32Array(60).fill(-1) },
      ...{ old: { name: 'old', rows: rows('old'), dim: 4, digest: 'of old' }, candidates: [], resamples: 20, ...more },
    });
    mkdirSync(join(folder, name));
    await writeReports(join(folder, name), evaluation, {});
    return join(folder, name);
  };
  const first = await judge('first', {});
  const trainingData = { relation: 'disjoint', sharedClasses: 0, comparedBy: 'origin' } as const;
  const old = { name: 'old', rows: rows('another'), dim: 4, digest: 'of another', trainingData };
  const differences = await compareArtifacts(first, await judge('other', { old, far: 1e-2 }));
  const changed = new Map(differences.map(({ what, a, b }) => [what, [a, b]]));
  assert.deepEqual(changed.get('models.old.digest'), ['of old', 'of another']);
  assert.deepEqual(changed.get('models.old.trainingData.relation'), [null, 'disjoint']);
  assert.deepEqual(changed.get('operating point.far'), [1e-3, 1e-2]);
  for (const what of ['TPIR@FPIR=1e-1', 'EER', 'at the old threshold.tar', 'keeping the FAR.threshold'])
    assert.ok(changed.has(`result.old → old.${what}`), `${what} of ${[...changed.keys()]}`);
  assert.ok(!differences.some(({ what }) => what.startsWith('protocol')));
  assert.deepEqual(await compareArtifacts(first, await judge('again', {})), []);
});
