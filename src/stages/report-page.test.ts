// The report in a real browser: what it shows, reads off and lets nobody do.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { openBrowser, openPage, seriousViolations } from '../../test/helpers/browser.ts';
import { suiteFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { Rng } from '../base/rng.ts';
import { openDataset } from '../data/index.ts';
import { readEvaluation } from '../eval/evaluation-artifact.ts';
import { type Band, type Evaluation, evaluate, type TestResult } from '../eval/index.ts';
import { renderHtml } from '../report/index.ts';
import { setThreads } from '../torch/index.ts';
import { MOST_BYTES, reportPictures } from './report-pictures.ts';
import { writeReports } from './reports.ts';

/** Names that would do harm if a page took them for HTML or let them turn the text around them. */
const NAMES = [
  'mixbct',
  `"'></script><script>window.harmed=1</script><img src=x onerror="window.harmed=1">`,
  `\u202egnorw \u0646\u0645\u0648\u0630\u062c${'x'.repeat(300)}`,
];
const [CLASSES, EACH, DIM] = [30, 5, 8];

/** Embeddings around a direction for each class. */
function embeddings(name: string, noise: number) {
  const [direction, own] = [new Rng('centres'), new Rng(name)];
  const centres = Array.from({ length: CLASSES * DIM }, () => direction.uniform() - 0.5);
  const at = (i: number): number => centres[Math.floor(i / (EACH * DIM)) * DIM + (i % DIM)]!;
  const rows = Float32Array.from({ length: CLASSES * EACH * DIM }, (_, i) => at(i) + noise * (own.uniform() - 0.5));
  return { name, rows, dim: DIM };
}

const folder = suiteFolder();
/** An evaluation of a small set, and its report with pictures in the folder `out`: the same for all tests. */
let evaluation: Evaluation;
const out = join(folder, 'out');
before(async () => {
  setThreads(1);
  mkdirSync(out);
  await writeReports(out, await evaluated(), {});
  evaluation = readEvaluation(out);
});

async function evaluated(): Promise<Evaluation> {
  const path = join(folder, 'set');
  await writeTinySet(path, { perClass: new Array(CLASSES).fill(EACH), families: EACH });
  using dataset = openDataset(path);
  return evaluate({
    title: `</script><script>window.harmed=1</script>${'a title '.repeat(30)}`,
    dataset: { path, digest: dataset.digest },
    labels: dataset.labels(),
    families: dataset.families(),
    old: embeddings('old', 1.1),
    oracle: embeddings('oracle', 0.4),
    candidates: NAMES.map((name, i) => embeddings(name, 0.8 + 0.15 * i)),
    resamples: 20,
  });
}

const evaluationText = (value: number | undefined): string => (100 * value!).toFixed(2);

/** Values beside a figure, by the line's name. */
const valuesOf = (page: Page, figure: string): Promise<readonly (readonly [string, string, string])[]> =>
  page
    .locator(`section[data-curves]:has(#figure-${figure}) .lines tbody tr`)
    .evaluateAll((rows) =>
      rows.map(
        (row) => [...row.querySelectorAll('th, td')].map((cell) => cell.textContent) as [string, string, string],
      ),
    );

type Read = { readonly y: readonly number[]; readonly band: Band };
const curves: Readonly<Record<string, (test: TestResult) => Read>> = {
  roc: ({ verification }) => ({ y: verification!.curve.tar, band: verification!.band! }),
  tpir: ({ identification }) => ({ y: identification!.curve.tpir, band: identification!.band! }),
  cmc: ({ identification }) => ({ y: identification!.cmc!.rate, band: identification!.cmcBand! }),
};

test('the report loads nothing, reads off the numbers of the evaluation, and names do no harm', async (t) => {
  const browser = await openBrowser(t);
  if (!browser) return;
  const address = pathToFileURL(join(out, 'report.html')).href;
  const { page, errors, requests } = await openPage(browser, address);
  await page.evaluate('for (const one of document.querySelectorAll("details")) one.open = true');
  for (const [width, dark] of [
    [390, true],
    [390, false],
    [1280, true],
    [1280, false],
  ] as const) {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' });
    const what = `${width} ${dark ? 'dark' : 'light'}`;
    if (dark === (width === 390)) assert.deepEqual(await seriousViolations(page), [], what); // each size and each colour once
    assert.deepEqual(errors, [], what);
    assert.deepEqual(requests.filter((url) => !url.startsWith('data:')), [address], what); // biome-ignore format: short
    assert.equal(await page.evaluate('window.harmed'), undefined, what);
    assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${what}: nothing sticks out`);
    const background = await page.evaluate('getComputedStyle(document.body).backgroundColor');
    assert.equal(background, dark ? 'rgb(18, 22, 27)' : 'rgb(255, 255, 255)');
    for (const name of ['broad', 'narrow'])
      assert.equal(await page.locator(`section[data-curves] svg.${name}`).first().isVisible(), (name === 'broad') === (width === 1280)); // biome-ignore format: short
  }
  const sizes = await page.locator('main img').evaluateAll((images) => images.map((image) => (image as HTMLImageElement).naturalWidth)); // biome-ignore format: short
  assert.ok(sizes.length > 20 && sizes.every((size) => size > 0), 'every picture is shown');

  for (const [figure, of] of Object.entries(curves)) {
    const slider = page.locator(`section[data-curves]:has(#figure-${figure}) input[type=range]`);
    for (const key of ['Home', 'End', 'ArrowLeft', 'PageDown']) {
      await slider.press(key);
      const at = Number(await slider.inputValue());
      const values = await valuesOf(page, figure);
      for (const [i, tested] of evaluation.tests.entries()) {
        const { y, band } = of(tested);
        const [name, value, interval] = values[i]!;
        assert.equal(name, `${tested.query} → ${tested.gallery}`);
        assert.equal(value, evaluationText(y[at]), `${figure} ${at}`);
        const x = Number((await slider.getAttribute('aria-valuetext'))!.split(' ')[1]);
        const b = band.x.findIndex((other) => Math.abs(other - x) < 5e-3 * x); // the text has three digits
        assert.equal(interval, b < 0 ? '–' : `[${evaluationText(band.low[b])}, ${evaluationText(band.high[b])}]`);
      }
    }
  }

  // a pointer over the drawing moves the same cursor
  const roc = page.locator('section[data-curves]:has(#figure-roc)');
  const drawing = roc.locator('svg.broad');
  const { width } = (await drawing.boundingBox())!;
  await drawing.hover({ position: { x: ((50 + 0.5 * (720 - 66)) / 720) * width, y: 100 } }); // the middle of its axis
  const [of] = await valuesOf(page, 'roc');
  assert.equal(of![1], evaluationText(evaluation.tests[0]!.verification!.tar.find(({ far }) => far === 1e-3)!.atMost));

  // a line is switched off, a table sorted, colours changed
  const line = roc.locator('svg.broad .l2').first();
  const before = await line.evaluate((mark) => mark.classList.contains('off'));
  await roc.locator('tbody input').nth(2).press('Space');
  assert.equal(await line.evaluate((mark) => mark.classList.contains('off')), !before);
  const table = page.locator('#tables table').first();
  const column = async (): Promise<number[]> => (await table.locator('tbody tr td:nth-child(2)').allTextContents()).map(Number); // biome-ignore format: short
  await table.locator('thead button').nth(1).press('Enter');
  assert.equal(await table.locator('thead th').nth(1).getAttribute('aria-sort'), 'descending');
  assert.deepEqual(
    await column(),
    (await column()).toSorted((a, b) => b - a),
  );
  await page.locator('button.theme').click();
  assert.equal(await page.evaluate('getComputedStyle(document.body).backgroundColor'), 'rgb(18, 22, 27)');
  assert.deepEqual(errors, []);

  // every link leads to a definition that is there
  const lost = await page.locator('a').evaluateAll((links) => links.map((link) => link.getAttribute('href')!).filter((href) => !document.getElementById(href.slice(1)))); // biome-ignore format: short
  assert.deepEqual(lost, []);

  // on paper: dark letters on white, nothing to press, and nothing sticks out of A4
  await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
  await page.setViewportSize({ width: 720, height: 1000 });
  assert.equal(await page.evaluate('getComputedStyle(document.body).backgroundColor'), 'rgb(255, 255, 255)');
  const pressed = page.locator('button, nav, input[type=range]');
  for (const one of await pressed.all()) assert.equal(await one.isVisible(), false);
  assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'print: nothing sticks out');
  const pdf = (await page.pdf({ format: 'A4' })).toString('latin1');
  assert.ok((pdf.match(/\/Type \/Page\b/g) ?? []).length > 3);
});

test('pictures and names of classes are in the page alone, in bounds, and stay out if asked', async () => {
  const shown = readFileSync(join(out, 'report.html'), 'utf8');
  const plain = join(folder, 'plain');
  mkdirSync(plain);
  await writeReports(plain, evaluation, { pictures: false });
  const without = readFileSync(join(plain, 'report.html'), 'utf8');
  const bytes = [...shown.matchAll(/data:image\/webp[^"]*/g)].reduce((sum, [{ length }]) => sum + length, 0);
  assert.ok(bytes > 10_000 && bytes <= MOST_BYTES, `${bytes}`);
  assert.match(shown, /class 2\d</);
  assert.doesNotMatch(without, /<img|data:image/);
  assert.match(without, /This report was made without pictures/);
  assert.doesNotMatch(readFileSync(join(out, 'evaluation.json'), 'utf8'), /class 2|data:image/);

  // the numbers are there where the dataset is not
  const { repaired } = evaluation.candidates[0]!.changes!.searches!;
  for (const page of [shown, without]) assert.ok(page.includes(`repair ${repaired.count}<`));
  const noteOf = async (dataset: Partial<Evaluation['dataset']>): Promise<string | null> =>
    (await reportPictures({ ...evaluation, dataset: { ...evaluation.dataset, ...dataset } })).note;
  assert.match((await noteOf({ path: join(folder, 'absent') }))!, /There are no pictures, because the dataset .*absent is not there/); // biome-ignore format: short
  assert.match((await noteOf({ digest: 'other' }))!, /holds other images than when it was evaluated/);

  // as an earlier version wrote it
  const earlier = {
    ...evaluation,
    tests: evaluation.tests.map(({ scores: _, map: __, ...one }) => one),
    candidates: evaluation.candidates.slice(0, 1).map(({ changes: _, ...one }) => one),
  };
  assert.match(renderHtml(earlier), /of an earlier version, which did not record what changes/);
});

test('a page of ten new models is under 3 MB, and takes less than ten seconds', async () => {
  const [one] = evaluation.candidates;
  const names = Array.from({ length: 10 }, (_, i) => `new-${i}`);
  const renamed = (name: string) => ({ ...one!, name });
  const own = evaluation.tests.filter(({ query }) => query === one!.name);
  const ten: Evaluation = {
    ...evaluation,
    models: [...evaluation.models.slice(0, 2), ...names.map((name) => ({ name, role: 'new' as const, dim: DIM }))],
    tests: [
      ...evaluation.tests.slice(0, 3),
      ...names.flatMap((name) => own.map((test) => ({ ...test, query: name, gallery: test.gallery === 'old' ? 'old' : name }))), // biome-ignore format: short
    ],
    candidates: names.map(renamed),
  };
  const start = process.cpuUsage(); // the time of a machine that does other things, too, would tell nothing
  const size = Buffer.byteLength(renderHtml(ten, await reportPictures(ten)));
  const { user, system } = process.cpuUsage(start);
  assert.ok(size > 300_000 && size < 3_000_000, `${size}`);
  assert.ok(user + system < 10e6, `${(user + system) / 1e6} s`);
});
