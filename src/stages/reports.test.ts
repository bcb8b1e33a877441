// What `report` may write over: reports of its own, and nothing else.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { mixbct } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { Rng } from '../base/rng.ts';
import { evaluate } from '../eval/index.ts';
import { writeReports } from './reports.ts';

const rows = (name: string) => {
  const rng = new Rng(name);
  return { name, rows: Float32Array.from({ length: 60 * 4 }, () => rng.uniform()), dim: 4 };
};

test('evaluations without a new model stand side by side with their tests', async (t) => {
  const folder = testFolder(t);
  const data = { dataset: { path: 'data/x', digest: 'abc' }, labels: Int32Array.from({ length: 60 }, (_, i) => Math.floor(i / 6)), families: new Int32Array(60).fill(-1) }; // biome-ignore format: short
  for (const [name, seed] of [
    ['first', 1],
    ['second', 2],
  ] as const) {
    mkdirSync(join(folder, name));
    const judged = evaluate({ title: 'A title', ...data, old: { ...rows(name), name: 'old' }, oracle: rows('oracle'), candidates: [], resamples: 20, seed }); // biome-ignore format: short
    await writeReports(join(folder, name), judged, {});
  }
  const { out } = mixbct(folder, 'report', 'first', 'second', '--markdown', 'a.md', '--html', 'a.html');
  for (const text of [out, ...['a.md', 'a.html'].map((name) => readFileSync(join(folder, name), 'utf8'))])
    assert.match(text, /first: A title.*rank-1.*oracle → old.*second: A title.*rank-1.*oracle → old/s);
});

test('report --force replaces a report of the same form, never photographs, the evaluation itself, folders or links', async (t) => {
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const evaluation = evaluate({
    title: 'A title',
    dataset: { path: 'data/x', digest: 'abc' },
    labels: Int32Array.from({ length: 60 }, (_, i) => Math.floor(i / 6)),
    families: new Int32Array(60).fill(-1),
    old: rows('old'),
    candidates: [rows('new')],
    resamples: 20,
  });
  mkdirSync(at('judged'));
  await writeReports(at('judged'), evaluation, {});
  const outputs = ['--html', 'a.html', '--markdown', 'a.md', '--figures', 'figures'];
  const report = (...args: string[]) => mixbct(folder, 'report', 'judged', ...args);
  assert.equal(report(...outputs).code, 0);
  const [html, png] = [readFileSync(at('a.html')), readFileSync(at('figures/roc.png'))];
  assert.match(report(...outputs).err, /a\.html exists already\n.*--force/);
  const again = report(...outputs, '--force');
  assert.equal(again.code, 0, again.err);
  assert.deepEqual([readFileSync(at('a.html')), readFileSync(at('figures/roc.png'))], [html, png]);

  writeFileSync(at('wedding.jpg'), 'irreplaceable');
  writeFileSync(at('page.html'), '<!doctype html>\n<html><body><h2>Mine</h2></body></html>\n');
  writeFileSync(at('notes.md'), '# Notes\n\nAll numbers are percentages.\n');
  for (const name of ['photos', 'empty']) mkdirSync(at(name));
  writeFileSync(at('photos/roc.png'), 'irreplaceable');
  symlinkSync('a.html', at('link.html'));
  const kept = ['wedding.jpg', 'page.html', 'notes.md', 'photos/roc.png', 'judged/evaluation.json', 'a.html', 'a.md'];
  const before = kept.map((name) => readFileSync(at(name)));
  const refused: readonly [string[], RegExp][] = [
    [['--html', 'wedding.jpg'], /wedding\.jpg is not an HTML report: nothing else is replaced/],
    [['--html', 'page.html'], /page\.html is not an HTML report/],
    [['--html', 'a.md'], /a\.md is not an HTML report/],
    [['--html', 'judged/evaluation.json'], /evaluation\.json lies inside judged, which this command reads/],
    [['--html', 'judged'], /judged is or holds .*judged, which this command reads/],
    [['--html', 'empty'], /empty is a folder/],
    [['--html', 'absent/'], /absent\/ is a folder, wanted the name of a file/],
    [['--html', 'link.html'], /link\.html is a link to a\.html, which is not followed/],
    [['--markdown', 'notes.md'], /notes\.md is not a report in Markdown/],
    [['--figures', 'photos'], /roc\.png is not a figure of a report/],
    [['--html', 'new', '--markdown', './new'], /new: the HTML and the Markdown report cannot be one file/],
  ];
  for (const [args, problem] of refused) {
    const { code, err } = report(...args, '--force');
    assert.deepEqual([code, problem.test(err)], [2, true], err);
  }
  assert.deepEqual(kept.map((name) => readFileSync(at(name))), before); // biome-ignore format: short
});
