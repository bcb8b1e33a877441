import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { formatLog } from '../info/format-log.ts';
import { appendLine, type LogLine, logTable, parseLogLine, parseRunEvent, readRunLog, secondsLeft, toCsv } from './run-log.ts'; // biome-ignore format: short

const line = (step: number, more: Partial<LogLine> = {}): LogLine => ({
  step,
  epoch: Math.floor(step / 10),
  loss: 1 / step,
  terms: { 'a,"b"': 2 / step },
  gradNorm: null,
  lr: 0.1,
  samplesPerSecond: 50,
  dataWaitShare: 0.25,
  counts: {},
  ...more,
});

test('a step that is logged again replaces the lines from it on', () => {
  const lines: LogLine[] = [];
  for (const step of [5, 10, 15, 20, 10, 15]) appendLine(lines, line(step, { loss: step }));
  assert.deepEqual(
    lines.map(({ step }) => step),
    [5, 10, 15],
  );
});

test('lines that are cut short, of other kinds, or hold no numbers are none', () => {
  const text = JSON.stringify(line(3));
  assert.equal(parseLogLine(text)?.step, 3);
  for (const bad of ['', text.slice(0, -5), '{}', 'null', '[]', JSON.stringify({ ...line(3), terms: { a: 'x' } })])
    assert.equal(parseLogLine(bad), null, bad);
  assert.ok(parseRunEvent('{"step":1,"time":"t","message":"m"}'));
  assert.ok(parseRunEvent('{"step":1,"time":"t","validation":{"a":0.5,"b":null}}'));
  for (const bad of [
    '{"step":1,"time":"t"}',
    '{"step":1,"message":"m"}',
    '{"step":1,"time":"t","validation":{"a":{}}}',
  ])
    assert.equal(parseRunEvent(bad), null, bad);
});

test('a log reads as a table with validations between its lines, as CSV with quotes, and as text', (t) => {
  const folder = testFolder(t);
  const out = join(folder, 'run');
  mkdirSync(out);
  const lines = [line(5), line(10, { counts: { 'steps skipped': 1 }, time: '2026-01-01T00:00:00.000Z' })];
  writeFileSync(join(out, 'log.jsonl'), `${lines.map((one) => JSON.stringify(one)).join('\n')}\n{"step":1`);
  const events = [
    { step: 7, time: '2026-01-01T00:00:00.000Z', message: 'warning: x' },
    { step: 10, time: '2026-01-01T00:00:01.000Z', validation: { 'rank-1': 0.5 } },
  ];
  writeFileSync(join(out, 'events.jsonl'), events.map((one) => `${JSON.stringify(one)}\n`).join(''));
  const log = readRunLog(out);
  const { header, rows } = logTable(log);
  assert.deepEqual(header, ['step', 'epoch', 'time', 'loss', 'a,"b"', 'gradNorm', 'lr', 'samplesPerSecond', 'dataWaitShare', 'steps skipped', 'rank-1']); // biome-ignore format: short
  assert.equal(
    toCsv(header, rows),
    [
      'step,epoch,time,loss,"a,""b""",gradNorm,lr,samplesPerSecond,dataWaitShare,steps skipped,rank-1',
      '5,0,,0.2,0.4,,0.1,50,0.25,,',
      '10,1,2026-01-01T00:00:00.000Z,0.1,0.2,,0.1,50,0.25,1,',
      '10,,2026-01-01T00:00:01.000Z,,,,,,,,0.5',
    ].join('\r\n'),
  );
  assert.match(formatLog(out, log), /3 lines[\s\S]*step +epoch +loss[\s\S]*10[\s\S]*messages\n {2}step 7: warning: x$/);
  assert.throws(() => readRunLog(join(folder, 'none')), /none: has no log of a training\n {2}hint: .*mixbct train/);
});

test('the time left is that of the remaining samples; without the steps of the run it is not known', () => {
  assert.equal(secondsLeft(line(30, { totalSteps: 130 }), 8), (100 * 8) / 50);
  assert.equal(secondsLeft(line(30), 8), null);
  assert.equal(secondsLeft(line(30, { totalSteps: 130, samplesPerSecond: 0 }), 8), null);
});
