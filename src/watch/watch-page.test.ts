// The live page in a real browser.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { openBrowser, openPage, seriousViolations } from '../../test/helpers/browser.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { tinySet, trained } from '../../test/helpers/runs.ts';
import { writeLog } from '../../test/helpers/watched-runs.ts';
import { StageRecords } from '../experiment/records.ts';
import { setThreads } from '../torch/index.ts';
import { serveWatch } from './watch-server.ts';

/** Names that would do harm if a page took them for HTML or let them turn the text around them. */
const HOSTILE = [
  '<img src=x onerror="window.harmed=1">',
  `"'><script>window.harmed=1<`,
  '\u202egnorw \u05d0\u05d1\u05d2',
  'x'.repeat(250),
];
const TITLE = `</script><script>window.harmed=1</script>${'title '.repeat(50)}`;
const KILLED_AT = 10;

/** What the page shows of a run in a column of its table. */
const cell = (page: Page, run: string, column: number): Promise<string> =>
  page.locator(`#runs tr[data-run="${run}"] td`).nth(column).innerText();

/** Waits until the table shows a text of a run. */
const shows = (page: Page, run: string, text: string): Promise<unknown> =>
  page.locator(`#runs tr[data-run="${run}"]`, { hasText: text }).waitFor();

/** Values of a run that the curve of its loss has. */
const valuesOf = async (page: Page, run: string): Promise<number> => {
  const label = await page.locator('figure[data-metric="loss"] .plot').getAttribute('aria-label');
  return Number(new RegExp(`${run} [\\d.e-]+, (\\d+) values`).exec(label ?? '')?.[1]);
};

test('the page follows a run that trains, is killed, goes on and ends, and another server; names do no harm', async (t) => {
  const browser = await openBrowser(t);
  if (!browser) return;
  setThreads(1);
  const { folder, prefix, dataset } = await tinySet(t);
  const root = join(folder, 'runs');
  for (const name of HOSTILE) writeLog(join(root, name), [10, 20, 30]);
  const message = '<b onclick="window.harmed=1">warning: \u202e';
  appendFileSync(
    join(root, HOSTILE[0]!, 'events.jsonl'),
    `${JSON.stringify({ step: 3, time: '2026-01-01T00:00:00.000Z', message })}\n`,
  );
  mkdirSync(join(root, 'experiment'));
  new StageRecords(join(root, 'experiment')).writePlan({
    title: TITLE,
    stages: [{ id: 'new', kind: 'train', summary: HOSTILE[0]! }],
  });
  let server = await serveWatch([root], { port: 0 });
  t.after(() => server[Symbol.asyncDispose]());
  const port = Number(new URL(server.url).port);
  const { page, errors, requests } = await openPage(browser, server.url);
  await shows(page, 'x'.repeat(250), 'interrupted');
  assert.equal(await page.locator('#runs tbody tr').count(), HOSTILE.length);
  for (const name of [...HOSTILE, TITLE.slice(0, 60), message])
    assert.ok((await page.textContent('body'))!.includes(name), name);
  assert.equal(await page.evaluate('window.harmed'), undefined);

  const out = join(root, 'run');
  const script = resolve(import.meta.dirname, '../../test/helpers/train-until-killed.js');
  const child = spawnSync(process.execPath, [script, prefix, out, '{}', '{}', String(KILLED_AT)], { encoding: 'utf8' });
  assert.equal(child.signal, 'SIGKILL', child.stderr);
  await shows(page, 'run', 'interrupted');
  await shows(page, 'run', `${KILLED_AT - 1} of 18`);
  assert.equal(await valuesOf(page, 'run'), KILLED_AT - 1);

  // it goes on from step 6: the steps after it are taken, and drawn, again
  const seen: unknown[] = [];
  const follow = {
    onStep: async ({ step }: { readonly step: number }): Promise<void> => {
      if (step !== 8 && step !== 12) return;
      await shows(page, 'run', `${step} of 18`);
      seen.push([step, await cell(page, 'run', 0), await valuesOf(page, 'run')]);
    },
  };
  await trained(dataset, out, {}, { resume: true, hooks: [follow] });
  assert.deepEqual(seen, [
    [8, 'running', 8],
    [12, 'running', 12],
  ]);
  await shows(page, 'run', 'finished');
  assert.equal(await valuesOf(page, 'run'), 18);
  const told = page.locator('#messages li', { hasText: '18 steps in all' });
  assert.equal(await told.count(), 1, 'what a run says again when it goes on is not repeated');

  await server[Symbol.asyncDispose]();
  await page.locator('#connection.lost').waitFor();
  assert.deepEqual(errors.filter((text) => !/ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/.test(text)), []); // biome-ignore format: short
  errors.length = 0;
  server = await serveWatch([root], { port });
  await page.locator('#connection:not(.lost)').waitFor();
  await page.locator('#connection', { hasText: '1 finished' }).waitFor();
  assert.equal(await valuesOf(page, 'run'), 18);
  assert.ok(requests.every((url) => url.startsWith(`http://127.0.0.1:${port}/`) || url.startsWith('data:')));
  await page.close();
});

test('new lines leave the figure in focus, and reach every figure again after a double click has ended a zoom', async (t) => {
  const browser = await openBrowser(t);
  if (!browser) return;
  const root = join(testFolder(t), 'runs');
  const run = join(root, 'run');
  writeLog(run, [10, 20, 30, 40], { totalSteps: 400 });
  for (let i = 0; i < 50; i++) writeLog(join(root, `later-${i}`), [10]);
  utimesSync(join(root, 'later-0/log.jsonl'), 1, 1);
  await using server = await serveWatch([root], { port: 0 });
  const { page, errors } = await openPage(browser, server.url);
  await shows(page, 'run', '40 of 400');
  assert.equal(await page.locator('#not-shown').innerText(), '1 more is not shown: it changed earlier');
  const figure = (metric: string) => page.locator(`figure[data-metric="${metric}"]`);
  await figure('lr').focus();
  writeLog(run, [50], { append: true, totalSteps: 400 });
  await shows(page, 'run', '50 of 400');
  assert.equal(await page.evaluate('document.activeElement.dataset.metric'), 'lr');
  const over = (await figure('loss').locator('.u-over').boundingBox())!;
  const [from, to, y] = [over.x + over.width / 4, over.x + over.width / 2, over.y + over.height / 2];
  await page.mouse.move(from, y);
  await page.mouse.down();
  await page.mouse.move(to, y, { steps: 4 });
  await page.mouse.up();
  const latest = async (metric: string): Promise<string> => {
    await figure(metric).focus();
    for (let i = 0; i < 9; i++) await page.keyboard.press('ArrowRight');
    return await figure(metric).locator('.read').innerText();
  };
  assert.doesNotMatch(await latest('lr'), /^50/, 'zoomed');
  await page.mouse.dblclick(to, y);
  writeLog(run, [60], { append: true, totalSteps: 400 });
  await shows(page, 'run', '60 of 400');
  for (const metric of ['lr', 'loss']) assert.match(await latest(metric), /^60/, metric);
  assert.deepEqual(errors, []);
  await page.close();
});

test('axe finds nothing serious, light and dark, on a screen and a phone; a curve is read by keyboard', async (t) => {
  const browser = await openBrowser(t);
  if (!browser) return;
  const folder = testFolder(t);
  const steps = Array.from({ length: 40 }, (_, i) => 5 * (i + 1));
  for (const name of ['first', 'second']) writeLog(join(folder, 'runs', name), steps, { totalSteps: 400 });
  const validation = { step: 100, time: '2026-01-01T00:00:00.000Z', validation: { 'new → old rank-1': 0.5 } };
  writeFileSync(join(folder, 'runs/first/events.jsonl'), `${JSON.stringify(validation)}\n`);
  new StageRecords(join(folder, 'runs/all')).writePlan({
    title: 'all',
    stages: [{ id: 'old', kind: 'train', summary: 'train' }],
  });
  await using server = await serveWatch([join(folder, 'runs')], { port: 0 });
  for (const [width, dark] of [[1280, false], [390, true]] as const) {
    const { page, errors } = await openPage(browser, server.url, { width, dark });
    await shows(page, 'second', '200 of 400');
    assert.deepEqual(await seriousViolations(page), [], `${width}`);
    assert.equal(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), true, `${width}`);
    const validated = page.locator('figure', { hasText: 'validation: new → old rank-1' }).locator('.plot');
    assert.match((await validated.getAttribute('aria-label'))!, /first 0\.5, 1 values/);
    const figure = page.locator('figure[data-metric="loss"]');
    await figure.focus();
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowLeft');
    await figure.locator('.read', { hasText: '195' }).waitFor();
    assert.match(await figure.locator('.read').innerText(), /^195\s*0\.01538\s*0\.01538$/);
    await page.locator('#runs tr[data-run="first"] input').uncheck();
    assert.doesNotMatch((await figure.locator('.plot').getAttribute('aria-label'))!, /first/);
    assert.deepEqual(errors, []);
    if (process.env['SCREENSHOTS']) await page.screenshot({ path: join(process.env['SCREENSHOTS'], `${width}.png`), fullPage: true }); // biome-ignore format: short
    await page.close();
  }
}); // biome-ignore format: a table
