import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHTML } from 'linkedom';
import { Rng } from '../base/rng.ts';
import { evaluate } from '../eval/index.ts';
import { renderHtml, renderMarkdown, renderTerminal } from './index.ts';

const random = (name: string) => {
  const rng = new Rng(name);
  return {
    name,
    rows: Float32Array.from({ length: 60 * 4 }, (_, i) => Math.floor(i / 24) * ((i % 4) + 1) * 0.3 + rng.uniform()),
    dim: 4,
  };
};
const evaluation = evaluate({
  title: 'A <b>title</b> & more',
  dataset: { path: 'data/x', digest: 'abc' },
  labels: Int32Array.from({ length: 60 }, (_, i) => Math.floor(i / 6)),
  families: new Int32Array(60).fill(-1),
  old: { ...random('old'), preset: 'reference' },
  oracle: random('oracle'),
  candidates: [{ ...random('mix<bct>'), differences: ['D-28 method.scale: 30 (reference: 1)'] }],
  resamples: 50,
});

test('the HTML report is one file with both curves, and text stays text', () => {
  const html = renderHtml(evaluation);
  const { document } = parseHTML(html);
  assert.equal(document.querySelectorAll('link, script, img, iframe, [src]').length, 0, 'nothing is fetched');
  for (const node of document.querySelectorAll('[href]')) assert.match(node.getAttribute('href')!, /^#/);
  assert.doesNotMatch(html, /@import|url\((?!#)/);
  const charts = [...document.querySelectorAll('svg')].filter(
    (svg) => svg.querySelectorAll('path').length >= evaluation.tests.length,
  );
  assert.equal(charts.length, 2);
  assert.equal(document.querySelector('h1')!.textContent, 'A <b>title</b> & more');
  assert.equal(document.querySelectorAll('h1 b').length, 0);
  for (const { query, gallery } of evaluation.tests)
    assert.ok(document.body.textContent!.includes(`${query} → ${gallery}`));
});

test('all three forms show the numbers of the evaluation', () => {
  const [comparison] = evaluation.candidates[0]!.comparisons;
  const shown = (100 * comparison!.newOld).toFixed(2);
  for (const text of [renderTerminal(evaluation), renderMarkdown(evaluation), renderHtml(evaluation)]) {
    assert.ok(text.includes(shown), shown);
    assert.ok(text.includes(comparison!.criterion));
    assert.match(text, /serve the old gallery/);
  }
  const markdown = renderMarkdown(evaluation);
  const widths = markdown
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) => line.replace(/\\\|/g, '').split('|').length);
  assert.deepEqual([...new Set(widths)].length, 2, 'two kinds of table, each with rows of one length');
});

test('a report names the preset of each model and every place where it differs from the reference', () => {
  const { document } = parseHTML(renderHtml(evaluation));
  const lines = [...document.querySelectorAll('dd')].map((node) => node.textContent);
  assert.ok(lines.includes('preset reference; no setting differs'));
  assert.ok(lines.includes('preset default; D-28 method.scale: 30 (reference: 1)'));
  assert.match(renderMarkdown(evaluation), /\*\*old\*\*: preset reference; no setting differs\n/);
});
