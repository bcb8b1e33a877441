import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { damageFile } from '../../test/helpers/bad-input.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { FileError } from '../base/errors.ts';
import { Rng } from '../base/rng.ts';
import { EVALUATION_FILE, readEvaluation } from '../eval/evaluation-artifact.ts';
import { evaluate } from '../eval/index.ts';
import { renderMarkdown, renderSummary, renderSummaryHtml, renderTerminal } from './index.ts';

const model = (name: string) => {
  const rng = new Rng(name);
  return { name, rows: Float32Array.from({ length: 60 * 4 }, () => rng.uniform()), dim: 4 };
};

test('five hundred damaged evaluations are refused by the field that is wrong, or shown', (t) => {
  const folder = testFolder(t);
  const whole = JSON.stringify(
    evaluate({
      title: 'whole',
      dataset: { path: 'data/x', digest: 'abc' },
      labels: Int32Array.from({ length: 60 }, (_, i) => Math.floor(i / 6)),
      families: new Int32Array(60).fill(-1),
      old: model('old'),
      oracle: model('oracle'),
      candidates: [model('new')],
      resamples: 20,
    }),
  );
  let refused = 0;
  for (let i = 0; i < 500; i++) {
    writeFileSync(join(folder, EVALUATION_FILE), whole);
    damageFile(folder, EVALUATION_FILE, new Rng('damaged evaluations').split(i));
    try {
      const evaluation = readEvaluation(folder);
      renderTerminal(evaluation);
      renderMarkdown(evaluation);
      const both = ['a', 'b'].map((name) => ({ name, evaluation }));
      renderSummary(both);
      if (i % 20 === 0) renderSummaryHtml(both);
    } catch (error) {
      assert.ok(error instanceof FileError, `${i}: ${(error as Error).stack}`);
      refused++;
    }
  }
  assert.ok(refused > 100 && refused < 450, `${refused} refused`);
});
