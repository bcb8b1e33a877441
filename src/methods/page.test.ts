// The code of docs/adding-a-method.md, as it stands there, is a method that works.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fill, fillUnitRows, int64 } from '../../test/helpers/formula.ts';
import { DIFFERENCES, PRINTED } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import { loadPage } from '../../test/helpers/page.ts';
import { setupOf, stepOf } from '../../test/helpers/step.ts';
import { packageRoot } from '../base/version.ts';
import { scope, type Tensor, toFloat64 } from '../torch/index.ts';
import type { Method } from './index.ts';

const MOST_LINES = 40;

test('the page on adding a method is short, and its code is a method', async (t) => {
  const page = readFileSync(join(packageRoot, 'docs/adding-a-method.md'), 'utf8');
  assert.ok(page.trimEnd().split('\n').length < MOST_LINES);
  const { pull } = await loadPage<{ readonly pull: Method }>(t, 'adding-a-method.md');
  const oldPrototypes = fillUnitRows([3, 4], 0.7, 0.55);
  const labels = int64([2, 0]);
  const term = (embeddings: Tensor): Tensor =>
    pull
      .start(pull.options.parse({}), setupOf({ oldDim: 4, classes: 3 }))
      .terms(stepOf({ embeddings, labels, old: { oldPrototypes } }))['pull']!.value;
  scope(() => {
    const [p, e] = [toFloat64(oldPrototypes), toFloat64(fillUnitRows([2, 4], 0.1, 1.3))];
    const away = (row: number, label: number): number =>
      [0, 1, 2, 3].reduce((sum, d) => sum + (e[4 * row + d]! - p[4 * label + d]!) ** 2, 0);
    const value = term(fill([2, 4], 0.1, 1.3)).item();
    assert.ok(Math.abs(value - (away(0, 2) + away(1, 0)) / 2) < PRINTED);
  });
  assert.ok(gradientGap(term, fill([2, 4], 0.1, 1.3)) < DIFFERENCES);
});
