// What stops a run, and what is left of it.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { tinyRecipe } from '../../test/helpers/recipes.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { oldSide, tinySet, trained, weights } from '../../test/helpers/runs.ts';
import { sessionNumbers, stepAt, tinyBatch, withSession } from '../../test/helpers/session.ts';
import type { Fault } from '../../test/helpers/train-with-fault.ts';
import { readJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { Interrupted } from '../base/errors.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { full, mean, mul, readSafetensors, scope, setThreads, type Tensor } from '../torch/index.ts';
import { NonFiniteLossPolicy } from './non-finite-loss-policy.ts';
import { noOldModelInputs, type OldModelInputs, openOldModelInputs } from './old-model-inputs.ts';
import { trainStep } from './train-step.ts';

before(() => setThreads(1));

/** Two epochs of six steps. */
const short = { epochs: 2 };

/** Trains to the end of a fault. → its exit */
function withFault(prefix: string, out: string, fault: Fault, resume = false) {
  const script = resolve(import.meta.dirname, '../../test/helpers/train-with-fault.js');
  const args = [script, prefix, out, JSON.stringify(short), JSON.stringify(fault), resume ? 'resume' : ''];
  const { status, signal, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return { status, signal, stderr };
}

const stepOf = (path: string): number => scope(() => Number(readSafetensors(path).metadata['step']));

const fresh = 'checkpoint.safetensors.new.part';
/** Checkpoints are written at steps 0, 2, 4, 6, …; the one of step 6 fails, midway through each of its parts. */
const faults: Readonly<Record<string, Omit<Fault, 'how'> & { readonly left: number }>> = {
  'while the new one is written': { call: 'write', suffix: fresh, time: 4, left: 4 },
  'before the new one has its first name': { call: 'rename', suffix: '.new', time: 4, left: 4 },
  'before the latest becomes the previous': { call: 'rename', suffix: 'previous.safetensors', time: 3, left: 4 },
  'between both': { call: 'rename', suffix: '/checkpoint.safetensors', time: 4, left: 4 },
};

test('killed at any moment of writing a checkpoint, a run goes on from the one before to the same bytes', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  const whole = join(folder, 'whole');
  await trained(dataset, whole, short);
  for (const [i, [when, { left, ...fault }]] of Object.entries(faults).entries()) {
    const out = join(folder, `killed-${i}`);
    const { signal, stderr } = withFault(prefix, out, { ...fault, how: 'kill' });
    assert.equal(signal, 'SIGKILL', `${when}: ${stderr}`);
    const { checkpoint, previous } = runFiles(out);
    assert.equal(stepOf(existsSync(checkpoint) ? checkpoint : previous), left, when);
    await trained(dataset, out, short, { resume: true });
    assert.deepEqual(weights(out), weights(whole), when);
    assert.deepEqual(
      readdirSync(out).filter((name) => name.startsWith('checkpoint')),
      [],
      'nothing is left of them',
    );
  }
});

test('a full disk ends the run with what to do; its last checkpoint goes on to the same bytes', async (t) => {
  const { folder, prefix, dataset } = await tinySet(t);
  const [whole, out, none] = ['whole', 'out', 'none'].map((name) => join(folder, name)) as [string, string, string];
  await trained(dataset, whole, short);
  const fault = { call: 'write', suffix: fresh, time: 4, how: 'ENOSPC' } as const;
  const { status, stderr } = withFault(prefix, out, fault);
  assert.equal(status, 2);
  assert.match(stderr, /out: the disk is full at step 6; the checkpoint of step 4 is kept\n.*--resume/);
  assert.equal(existsSync(join(out, fresh)), false, 'the torn one is removed');
  await trained(dataset, out, short, { resume: true });
  assert.deepEqual(weights(out), weights(whole));
  const atOnce = withFault(prefix, none, { ...fault, time: 1 });
  assert.match(atOnce.stderr, /none: the disk is full at step 0\n.*start it again/);
  assert.equal(existsSync(none), false);
});

/** A run that was stopped at step 8: its latest checkpoint is of step 8, the one before of step 6. */
async function stopped(out: string, dataset: Parameters<typeof trained>[0]): Promise<void> {
  const controller = new AbortController();
  let steps = 0;
  const old: OldModelInputs = {
    ...noOldModelInputs,
    forBatch: () => {
      if (++steps === 8) controller.abort();
      return {} as never;
    },
  };
  await assert.rejects(trained(dataset, out, short, { old, signal: controller.signal }), Interrupted);
}

test('a torn or damaged checkpoint is noticed, and the one before is used', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const whole = join(folder, 'whole');
  await trained(dataset, whole, short);
  const damages: Readonly<Record<string, (bytes: Buffer) => Uint8Array>> = {
    torn: (bytes) => bytes.subarray(0, bytes.length / 2),
    empty: () => new Uint8Array(),
    'one bit of a weight': (bytes) => flipped(bytes, bytes.length - 100),
    'one digit of the step': (bytes) => flipped(bytes, bytes.indexOf('"step":"8"') + 8),
  };
  for (const [i, [what, damage]] of Object.entries(damages).entries()) {
    const out = join(folder, `run-${i}`);
    const { checkpoint, previous } = runFiles(out);
    await stopped(out, dataset);
    assert.deepEqual([stepOf(checkpoint), stepOf(previous)], [8, 6]);
    writeFileSync(checkpoint, damage(readFileSync(checkpoint)));
    const said = reportsOf(t);
    await trained(dataset, out, short, { resume: true });
    const text = said.text();
    said.restore();
    assert.match(text, /checkpoint\.safetensors: .*\n.*resuming from the previous checkpoint, of step 6/, what);
    assert.deepEqual(weights(out), weights(whole), what);
  }
  const out = join(folder, 'both');
  const { checkpoint, previous } = runFiles(out);
  await stopped(out, dataset);
  for (const path of [checkpoint, previous]) writeFileSync(path, flipped(readFileSync(path), 2000));
  await assert.rejects(
    trained(dataset, out, short, { resume: true }),
    /no checkpoint is intact:\n.*checkpoint\.safetensors.*\n.*previous.*\n.*--force/,
  );
  assert.ok(existsSync(checkpoint) && existsSync(previous), 'nothing is thrown away');
});

function flipped(bytes: Buffer, at: number): Buffer {
  bytes[at]! ^= 1;
  return bytes;
}

test('SIGTERM ends a run as Ctrl-C does, and so does SIGHUP, whose terminal is gone: a checkpoint, exit code 1', async (t) => {
  const { folder, prefix } = await tinySet(t);
  const [recipe, main] = [join(folder, 'recipe.json'), resolve(import.meta.dirname, '../cli/main.js')];
  writeFileSync(recipe, JSON.stringify({ ...tinyRecipe({ epochs: 1000 }) }));
  for (const name of ['SIGTERM', 'SIGHUP'] as const) {
    const out = join(folder, name);
    const args = ['train', recipe, '--data', prefix, '--out', out, '--threads', '1', '--log-every', '1'];
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    child.stderr.on('data', (chunk) => {
      text += chunk;
    });
    while (!existsSync(runFiles(out).log) && child.exitCode === null) await setTimeout(20);
    if (name === 'SIGHUP') child.stderr.destroy(); // whatever it writes from now on fails
    child.kill(name);
    const [code] = await once(child, 'exit');
    assert.equal(code, 1, `${name}: ${text}`);
    assert.ok(stepOf(runFiles(out).checkpoint) > 0, name);
    if (name === 'SIGTERM')
      assert.match(
        text,
        /stopped at step \d+ of 6000; the checkpoint is written\n.*go on with: mixbct train .*--resume/,
      );
  }
});

/** L2 against old embeddings of which those of one step, counted from 1, are not numbers. */
function spoilt(bad: readonly number[], features: string, dataset: Parameters<typeof openOldModelInputs>[2]) {
  const supply = openOldModelInputs(tinyRecipe(l2), { features }, dataset);
  let steps = 0;
  const forBatch: OldModelInputs['forBatch'] = (indices) => {
    const of = supply.forBatch(indices);
    return bad.includes(++steps) ? { ...of, oldEmbedding: full([indices.length, 8], Number.NaN) } : of;
  };
  return { ...supply, forBatch };
}
const l2 = { ...short, method: { kind: 'l2' } };

test('a non-finite loss stops the run with step, terms and samples; with skipNonFinite, such batches are skipped', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const { features } = await oldSide(folder, dataset);
  const [out, cut, none] = ['out', 'cut', 'none'].map((name) => join(folder, name)) as [string, string, string];
  const paths = { features };
  await assert.rejects(
    trained(dataset, none, l2, { paths, old: spoilt([8], features, dataset) }),
    /non-finite loss at step 8: classify \d.*, regress NaN\n {2}samples: (\d+, ){7}\d+\n.*--skip-non-finite/,
  );
  assert.equal(stepOf(runFiles(none).checkpoint), 6, 'the checkpoint of the previous epoch is kept');
  const { counts } = await trained(dataset, out, l2, {
    paths,
    old: spoilt([3, 8], features, dataset),
    skipNonFinite: 2,
  });
  assert.deepEqual(counts, { 'batches skipped for a non-finite loss': 2 });
  assert.deepEqual((readJson(join(out, MANIFEST)) as { counts: object }).counts, counts);
  assert.ok(weights(out).length === 2);
  // a resumed run remembers what it has skipped
  await assert.rejects(
    trained(dataset, cut, l2, { paths, old: spoilt([3, 8], features, dataset), skipNonFinite: 1 }),
    /non-finite loss at step 8: .*, after 1 skipped batch/,
  );
  await assert.rejects(
    trained(dataset, cut, l2, { paths, old: spoilt([1], features, dataset), skipNonFinite: 1, resume: true }),
    /non-finite loss at step 7: .*, after 1 skipped batch/,
  );
});

test('a skipped batch leaves nothing behind: no weight, no momentum, no running statistic', () => {
  for (const method of [{ kind: 'l2' }, { kind: 'independent' }])
    withSession({ method }, (session) => {
      const policy = new NonFiniteLossPolicy(1, session);
      const before = sessionNumbers(session);
      policy.snapshot();
      const old: OldModelInputs = {
        ...noOldModelInputs,
        forBatch: () => ({ oldEmbedding: full([6, 8], Number.NaN) }) as never,
      };
      // the head's own loss is spoilt where the method has nothing else
      const head = method.kind === 'l2' ? session.head : { ...session.head, forStep: spoiltHead };
      const { finite, ...seen } = trainStep({ ...session, head: head as never }, tinyBatch(6), old, stepAt());
      assert.equal(finite, false);
      assert.notDeepEqual(sessionNumbers(session), before, 'statistics have moved');
      const counted: string[] = [];
      const log = { counts: new Map<string, number>(), count: (what: string) => void counted.push(what) };
      policy.handle({ step: 0, ...seen, batch: tinyBatch(6) }, log);
      assert.deepEqual(sessionNumbers(session), before);
      assert.equal(counted.length, 1);
      policy.dispose();
    });
});

const spoiltHead = () => ({
  classifier: { loss: (embeddings: Tensor) => mul(mean(embeddings), Number.NaN), weight: full([6, 8], 0) },
  chosen: null,
});
