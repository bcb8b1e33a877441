import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeLog } from '../../test/helpers/watched-runs.ts';
import { writeAtomic } from '../artifacts/durable-write.ts';
import { lockOutput } from '../artifacts/output-lock.ts';
import { StageRecords } from '../experiment/records.ts';
import { LogTail } from './log-tail.ts';
import { Watched } from './watched.ts';

test('a tail gives whole lines once, and begins anew where the file was replaced, cut or removed', (t) => {
  const path = join(testFolder(t), 'log');
  const tail = new LogTail(path);
  const read = (): unknown => ({ ...tail.read() });
  assert.deepEqual(read(), { replaced: false, lines: [] });
  writeFileSync(path, 'a\nb\nc');
  assert.deepEqual(read(), { replaced: false, lines: ['a', 'b'] });
  appendFileSync(path, 'c\nä');
  assert.deepEqual(read(), { replaced: false, lines: ['cc'] });
  appendFileSync(path, Buffer.from([0xc3]));
  assert.deepEqual(read(), { replaced: false, lines: [] });
  appendFileSync(path, Buffer.from([0xb6, 0x0a]));
  assert.deepEqual(read(), { replaced: false, lines: ['äö'] });
  writeAtomic(path, 'a\nb\ncc\näö\nlonger than before\n');
  assert.deepEqual(read(), { replaced: true, lines: ['a', 'b', 'cc', 'äö', 'longer than before'] });
  writeFileSync(path, 'x\n');
  assert.deepEqual(read(), { replaced: true, lines: ['x'] });
  rmSync(path);
  assert.deepEqual(read(), { replaced: true, lines: [] });
  assert.deepEqual(read(), { replaced: false, lines: [] });
});

test('a page gets what it lacks; after a log was replaced, or steps were logged again, it gets all', (t) => {
  const folder = testFolder(t);
  const run = join(folder, 'run');
  writeLog(run, [1, 2, 3]);
  const watched = new Watched([run]);
  const first = watched.data().runs[0]!;
  assert.deepEqual([first.name, first.state, first.from, first.lines.length], ['run', 'interrupted', 0, 3]);
  const seen = { '0': { generation: first.generation, lines: 3, events: 0 } };
  writeLog(run, [4, 5], { append: true });
  watched.poll();
  const next = watched.data(seen).runs[0]!;
  assert.deepEqual([next.from, next.lines.map(({ step }) => step)], [3, [4, 5]]);
  assert.deepEqual(watched.data({ '0': { ...seen['0'], generation: 7 } }).runs[0]!.lines.length, 5);
  writeLog(run, [4], { append: true });
  watched.poll();
  const again = watched.data({ '0': { ...seen['0'], lines: 5 } }).runs[0]!;
  assert.deepEqual(
    again.lines.map(({ step }) => step),
    [1, 2, 3, 4],
  );
});

test('a run is running while its lock is held, and finished with a manifest; new runs of a folder are found', (t) => {
  const folder = testFolder(t);
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  writeLog(a, [1]);
  const watched = new Watched([folder]);
  const states = (): unknown => {
    watched.poll();
    return watched.data().runs.map(({ name, state }) => `${name} ${state}`);
  };
  assert.deepEqual(states(), ['a interrupted']);
  const lock = lockOutput(a);
  writeLog(b, [1]);
  assert.deepEqual(states(), ['a running', 'b interrupted']);
  lock[Symbol.dispose]();
  writeFileSync(join(a, 'manifest.json'), '{"kind":"run"}');
  assert.deepEqual(states(), ['a finished', 'b interrupted']);
  assert.throws(() => new Watched([join(folder, 'c')]), /no such folder.*\n {2}hint: .*mixbct train/);
  mkdirSync(join(folder, 'd'));
  assert.throws(() => new Watched([join(folder, 'd')]), /neither a run nor an experiment/);
  assert.throws(() => new Watched([join(a, 'log.jsonl')]), /is a file/);
});

test('of too many runs those that are running or changed last are watched, and the others counted', (t) => {
  const folder = testFolder(t);
  const at = (i: number): string => join(folder, `run-${String(i).padStart(2, '0')}`);
  const write = (i: number): void => {
    writeLog(at(i), [1]);
    utimesSync(join(at(i), 'log.jsonl'), i, i);
  };
  for (let i = 0; i < 53; i++) write(i);
  const watched = new Watched([folder]);
  const shown = () => {
    watched.poll();
    const { runs, notShown } = watched.data();
    assert.equal(new Set(runs.map(({ id }) => id)).size, runs.length);
    return { names: new Set(runs.map(({ name }) => Number(name.slice(4)))), notShown };
  };
  const first = shown();
  assert.deepEqual([first.names.size, first.notShown], [50, 3]);
  assert.ok([0, 1, 2].every((i) => !first.names.has(i)));
  using _ = lockOutput(at(1));
  write(60);
  const { names, notShown } = shown();
  assert.deepEqual([[1, 60, 5].map((i) => names.has(i)), names.has(4), notShown], [[true, true, true], false, 4]);
  for (let i = 10; i < 20; i++) rmSync(at(i), { recursive: true });
  assert.deepEqual([shown().names.size, shown().notShown], [44, 0]);
});

test('stages of an experiment stand in the order of its plan, each with its state', (t) => {
  const folder = testFolder(t);
  const records = new StageRecords(folder);
  const stage = (id: string) => ({ id, kind: 'train', summary: `makes ${id}` });
  records.writePlan({ title: 'mine', stages: ['z', 'b', 'a', 'c'].map(stage) });
  const record = { mixbct: '0.4.0', of: {}, made: null };
  records.write('z', { ...record, inputs: 'x', made: { z: join(folder, 'z') } });
  records.write('b', { ...record, inputs: 'x' });
  records.write('a', { ...record, inputs: '' });
  writeLog(join(folder, 'b'), [1]);
  const watched = new Watched([folder]);
  const states = (): unknown => watched.data().experiments[0]!.stages.map(({ id, state }) => `${id} ${state}`);
  assert.deepEqual(states(), ['z done', 'b interrupted', 'a stale', 'c to come']);
  assert.deepEqual(
    watched.data().runs.map(({ name }) => name),
    ['b'],
  );
  using _ = lockOutput(folder);
  assert.deepEqual(states(), ['z done', 'b running', 'a stale', 'c to come']);
  assert.equal(watched.data().title, 'mine');
});

test('links lead nowhere: neither a log that is one, nor a folder of a run beside others', (t) => {
  const [folder, outside] = [testFolder(t), testFolder(t)];
  writeLog(join(outside, 'secret'), [1, 2, 3]);
  writeLog(join(folder, 'run'), [1]);
  mkdirSync(join(folder, 'linked'));
  writeFileSync(join(folder, 'linked/recipe.json'), '{}');
  symlinkSync(join(outside, 'secret/log.jsonl'), join(folder, 'linked/log.jsonl'));
  symlinkSync(join(outside, 'secret'), join(folder, 'other'));
  const { runs } = new Watched([folder]).data();
  assert.deepEqual(
    runs.map(({ name, lines }) => `${name} ${lines.length}`),
    ['linked 0', 'run 1'],
  );
});
