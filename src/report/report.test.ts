import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHTML } from 'linkedom';
import sharp from 'sharp';
import { Rng } from '../base/rng.ts';
import type { Evaluation, TestResult } from '../eval/index.ts';
import { evaluate } from '../eval/index.ts';
import {
  figures,
  renderHtml,
  renderMarkdown,
  renderPng,
  renderSummary,
  renderSummaryHtml,
  renderSummaryMarkdown,
  renderTerminal,
} from './index.ts';

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

test('the HTML report is one file with its curves, and text stays text', () => {
  const html = renderHtml(evaluation);
  const { document } = parseHTML(html);
  assert.equal(document.querySelectorAll('link, img, iframe, [src]').length, 0, 'nothing is fetched');
  assert.match(html, /http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; /);
  for (const node of document.querySelectorAll('[href]')) assert.match(node.getAttribute('href')!, /^#/);
  assert.doesNotMatch(html, /@import|url\((?!#)/);
  assert.deepEqual(
    [...document.querySelectorAll('[data-curves] h3')].map((title) => title.textContent),
    [
      'Verification: ROC',
      'Verification: DET',
      'Open-set identification: TPIR over FPIR',
      'Closed-set identification: CMC',
    ],
  );
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
  assert.deepEqual([...new Set(widths)].length, 3, 'three kinds of table, each with rows of one length');
});

test('a report names the preset of each model and every place where it differs from the reference', () => {
  const { document } = parseHTML(renderHtml(evaluation));
  const lines = [...document.querySelectorAll('dd')].map((node) => node.textContent);
  assert.ok(lines.includes('preset reference; no setting differs'));
  assert.ok(lines.includes('preset default; D-28 method.scale: 30 (reference: 1)'));
  assert.match(renderMarkdown(evaluation), /\*\*old\*\*: preset reference; no setting differs\n/);
});

const of = (changes: Partial<Evaluation>): Evaluation => ({ ...evaluation, ...changes });
const withTests = (change: (test: TestResult) => TestResult): Evaluation => of({ tests: evaluation.tests.map(change) });

/** Each line of a figure by its name in the legend: its colour, dashes and symbol. */
function looks(svg: string): Map<string, string> {
  const { document } = parseHTML(`<body>${svg}</body>`);
  const [samples, texts] = [[] as string[], [] as string[]];
  for (const node of [...document.querySelectorAll('svg > g')].at(-1)!.children) {
    const [kind, shape] = [
      node.getAttribute('aria-label'),
      node.innerHTML.replace(/ (?:transform|c[xy])="[^"]*"/g, ''),
    ];
    if (kind === 'line') samples.push(`${node.getAttribute('stroke')} ${node.getAttribute('stroke-dasharray')}`);
    else if (kind === 'dot') samples[samples.length - 1] += ` ${shape}`;
    else texts.push(...[...node.children].map(({ textContent }) => textContent!));
  }
  assert.equal(texts.length, samples.length, 'every line is named');
  return new Map(texts.map((text, i) => [text, samples[i]!]));
}

test('lines of many models and of several runs are told apart; the references are black and grey', () => {
  const names = Array.from({ length: 13 }, (_, i) => `new-${i}`);
  const [base] = evaluation.tests as [TestResult];
  const many = of({
    models: [...evaluation.models.slice(0, 2), ...names.map((name) => ({ name, role: 'new' as const, dim: 4 }))],
    tests: [
      base,
      ...['oracle', ...names].flatMap((query) => [query, 'old'].map((gallery) => ({ ...base, query, gallery }))),
    ],
  });
  const [roc] = figures([{ name: '', evaluation: many }]);
  const lines = looks(roc!.svg);
  assert.equal(lines.size, 1 + 2 * 14);
  assert.equal(new Set(lines.values()).size, lines.size);
  assert.equal(lines.get('old → old'), '#1a1a1a null');
  assert.equal(lines.get('oracle → oracle'), '#8c8c8c 6 4');
  assert.match(lines.get('new-0 → old')!, / null$/);
  const runs = ['a', 'b'].map((name) => ({ name, evaluation: many }));
  const both = looks(figures(runs)[0]!.svg);
  assert.equal(new Set(both.values()).size, 2 * lines.size);
  assert.equal(both.get('a: new-12 → old'), lines.get('new-12 → old'));
});

test('a figure is an SVG document and a picture that stand alone', async () => {
  const all = figures([{ name: '', evaluation }]);
  assert.deepEqual(
    all.map(({ name }) => name),
    ['roc', 'det', 'tpir', 'cmc'],
  );
  for (const { name, svg } of all) {
    assert.doesNotMatch(svg, /<style|style=|var\(|url\(|NaN|href/, name);
    assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    const { data, info } = await sharp(await renderPng(svg))
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    const [, width] = /width="(\d+)"/.exec(svg)!;
    assert.equal(info.width, 2 * Number(width));
    assert.deepEqual([...data.subarray(0, 3)], [255, 255, 255], 'the background is white');
    assert.ok(data.filter((value) => value < 100).length > 1000, 'something is drawn');
  }
});

test('a part that a protocol or an earlier version does not have is left out', () => {
  const figuresOf = (judged: Evaluation) => figures([{ name: '', evaluation: judged }]).map(({ name }) => name);
  const head = (judged: Evaluation) => /^\| query.*$/m.exec(renderMarkdown(judged))![0];
  const earlier = withTests(({ identification, ...test }) => {
    const { cmc: _, ...rest } = identification!;
    return { ...test, identification: rest };
  });
  assert.deepEqual(figuresOf(earlier), ['roc', 'det', 'tpir']);
  const only = {
    verification: of({ ...withTests((test) => ({ ...test, identification: null })), candidates: [] }),
    identification: of({ ...withTests((test) => ({ ...test, verification: null })), candidates: [] }),
  };
  assert.deepEqual(figuresOf(only.verification), ['roc', 'det']);
  assert.deepEqual(figuresOf(only.identification), ['tpir', 'cmc']);
  assert.match(head(only.verification), /TAR@FAR 1e-4 .*EER \|$/);
  assert.match(head(only.identification), /gallery \| rank-1 \|/);
  assert.doesNotMatch(renderMarkdown(only.verification), /probes against/);
  for (const judged of Object.values(only))
    for (const text of [renderTerminal(judged), renderHtml(judged)]) assert.match(text, /old → old/);
  const mixed = of({ tests: [...only.verification.tests, ...only.identification.tests] });
  assert.match(renderMarkdown(mixed), /\| old → old \|(?: –? ?\|)* – \|/);
  const none = { name: 'none', evaluation: only.identification };
  const several = [none, { name: 'both', evaluation }];
  assert.match(renderSummaryHtml(several), /none: old → old/);
  for (const text of [renderSummary(several), renderSummaryMarkdown(several), renderSummaryHtml(several)])
    assert.match(text, /none: .*rank-1.*old → old/s, 'its tests, because it judges no new model');
});

test('several evaluations share a page: names, tables and figures of both', () => {
  const { document } = parseHTML(renderSummaryHtml(['first', 'second'].map((name) => ({ name, evaluation }))));
  const text = document.body.textContent!;
  for (const part of ['first: old → old', 'second: mix<bct> → old', 'TAR@FAR=1e-3'])
    assert.ok(text.includes(part), part);
  assert.equal(document.querySelectorAll('[data-curves]').length, 4);
});
