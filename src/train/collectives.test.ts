// Training by several real processes: the same as by one, whatever their number, also across a checkpoint.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { Run } from '../../test/distributed/training.ts';
import { pattern } from '../../test/helpers/images.ts';
import { endsOf, inProcesses } from '../../test/helpers/processes.ts';
import { sharedSet, trained, weights } from '../../test/helpers/runs.ts';
import { encodePgm } from '../data/decode.ts';
import { readRunManifest } from '../runs/load-model.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { readSafetensors, scope, setThreads, toNumbers } from '../torch/index.ts';

before(() => setThreads(1));

const shared = sharedSet();

/** Twelve single-precision steps whose sums are taken in other orders: relative to losses of order 1 … 10. */
const FLOAT_SUMS = 2e-3;
/** The same of weights of order 0.1 … 1, absolute. */
const WEIGHTS = 5e-3;

/** Layers without batch statistics but for the last ones, which are those of the whole batch. */
const recipe = {
  network: { name: 'vit_t', embeddingDim: 8, inputSide: 16, width: 1 / 32, dropPath: 0, maskRatio: 0, dropout: 0 },
  optimizer: { kind: 'sgd', lr: 0.02 },
  syncBatchNorm: true,
  batchSize: 12,
  epochs: 3, // of 4 steps
};

/** For an old model of fewer dimensions. */
const projections: Readonly<Record<string, object>> = { lce: { dim: 8 }, bt2: { dim: 8, orthonormal: true } };
const projected = (kind: string): object =>
  projections[kind] ? { network: { ...recipe.network, embeddingDim: 12 }, projection: projections[kind] } : {};

/** For each method a section in which all of it acts, and what it takes. */
const methods = {
  independent: [{}, []],
  mixbct: [{ ratio: 0.4 }, ['features', 'credible']],
  l2: [{ threshold: 0.2 }, ['features']],
  bct: [{}, ['prototypes']],
  unibct: [{ startEpoch: 1, refreshEpochs: [1, 2] }, ['features']],
  nccl: [{ queueSize: 20 }, ['features', 'credible']],
  advbct: [{ hidden: 6 }, ['features', 'boundaries']],
  lce: [{}, ['boundaries']],
  ract: [{}, ['features']],
  bt2: [{}, ['features', 'prototypes']],
  hoc: [{}, ['features']],
  pairs: [{ queueSize: 20 }, ['features']],
  joint: [{}, ['features']],
  ndpp: [{ neighbours: 3 }, ['prototypes']],
  compose: [
    {
      of: [
        { kind: 'bct' },
        { kind: 'mixbct', ratio: 0.4 },
        { kind: 'nccl', queueSize: 20 },
        { kind: 'advbct', hidden: 6 },
      ],
    },
    ['features', 'credible', 'prototypes', 'boundaries'],
  ],
} as const;

type Line = {
  readonly step: number;
  readonly loss: number;
  readonly terms: Record<string, number>;
  readonly counts: object;
};
const log = (out: string): Line[] =>
  readFileSync(runFiles(out).log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

const numbers = (path: string): Map<string, number[]> =>
  scope(() => new Map([...readSafetensors(path).tensors].map(([name, value]) => [name, toNumbers(value)])));

/** Losses and terms of every step, counters, and all weights of two runs, within the sums of single precision. */
function assertAlike(a: string, b: string, what: string, { resumed = false } = {}): void {
  const [ours, theirs] = [log(a), log(b)];
  assert.equal(theirs.length, ours.length, what);
  for (const [i, { step, loss, terms, counts }] of ours.entries()) {
    const other = theirs[i]!;
    for (const [name, value] of [['loss', loss] as const, ...Object.entries(terms)]) {
      const seen = name === 'loss' ? other.loss : other.terms[name]!;
      const gap = Math.abs(seen - value) / Math.max(1, Math.abs(value));
      assert.ok(gap < FLOAT_SUMS, `${what}, step ${step}, ${name}: ${value}, ${seen}`);
    }
    if (!resumed) assert.deepEqual(other.counts, counts, `${what}, step ${step}`); // a resumed run counts anew
  }
  for (const file of ['model', 'head'] as const) {
    const expected = numbers(runFiles(a)[file]);
    for (const [name, seen] of numbers(runFiles(b)[file])) {
      const gap = seen.reduce((worst, v, i) => Math.max(worst, Math.abs(v - expected.get(name)![i]!)), 0);
      assert.ok(gap < WEIGHTS, `${what}, ${name}: ${gap}`);
    }
  }
}

/** A data set, an old model's side, and where runs go. */
async function bench() {
  const { folder, prefix, dataset, side } = await shared();
  const at = (name: string): string => join(folder, name);
  const pathsOf = (kind: keyof typeof methods) =>
    Object.fromEntries(methods[kind][1].map((what) => [what, side[what]] as const));
  const runOf = (kind: keyof typeof methods, name: string, changes: object = {}): Run => ({
    prefix,
    out: at(name),
    changes: { ...recipe, method: { kind, ...methods[kind][0] }, ...projected(kind), ...changes },
    paths: pathsOf(kind),
  });
  const alone = ({ out, changes, paths }: Run, options: object = {}) =>
    trained(dataset, out, changes, { paths: paths!, ...options });
  return { at, runOf, alone };
}

test('12 steps of every method are those of one process, by two, and those of a composition and two methods by four', async () => {
  const { at, runOf, alone } = await bench();
  const all = Object.keys(methods) as (keyof typeof methods)[];
  for (const kind of all) await alone(runOf(kind, `${kind}-1`));
  const byFour: typeof all = ['compose', 'unibct', 'l2'];
  for (const [processes, kinds] of [
    [2, all],
    [4, byFour],
  ] as const) {
    const answers = await inProcesses<{ leaked: number }>(
      processes,
      'training',
      kinds.map((kind) => runOf(kind, `${kind}-${processes}`)),
    );
    for (const { leaked } of answers) assert.equal(leaked, 0);
    for (const kind of kinds) {
      assert.equal(log(at(`${kind}-${processes}`)).length, 12);
      assertAlike(at(`${kind}-1`), at(`${kind}-${processes}`), `${kind} by ${processes}`);
    }
  }
});

test('convolutions with batch statistics of the whole batch, remembered or computed again, and other heads', async () => {
  const { at, runOf, alone } = await bench();
  const network = { name: 'r18', embeddingDim: 8, inputSide: 16, width: 1 / 16 };
  const short = { epochs: 1 };
  const cases = {
    r18: { network, ...short },
    again: { network: { ...network, checkpointEvery: 1 }, ...short },
    parts: { network, accumulate: 3, ...short },
    softmax: { head: { kind: 'softmax' }, ...short },
    maps: { head: { kind: 'softmax' }, method: { kind: 'lce', alignWeight: 20 }, ...short }, // learned maps behind a head that every process holds whole
    adamw: { optimizer: { kind: 'adamw', lr: 1e-3 }, ...short },
  };
  const runs = (processes: number): Run[] =>
    Object.entries(cases).map(([name, changes]) =>
      runOf(name === 'maps' ? 'lce' : 'independent', `${name}-${processes}`, changes),
    );
  for (const run of runs(1)) await alone(run);
  await inProcesses(2, 'training', runs(2));
  for (const name of Object.keys(cases)) assertAlike(at(`${name}-1`), at(`${name}-2`), name);
});

test('two runs of equal settings are equal to the byte, with overlap and without, batch statistics of shares included', async () => {
  const { at, runOf } = await bench();
  const changes = {
    syncBatchNorm: false,
    head: { kind: 'arcface', marginRad: 0.2, scale: 16, sampleRate: 0.5 },
    epochs: 2,
  };
  const runs = ['a', 'b', 'c'].map((name) => ({ ...runOf('mixbct', name, changes), overlap: name !== 'c' }));
  await inProcesses(2, 'training', runs);
  for (const name of ['b', 'c']) assert.deepEqual(weights(at(name)), weights(at('a')), name);
});

test('a checkpoint of four processes goes on with one, two, three or four, moments and queue included', async () => {
  const { at, runOf, alone } = await bench();
  const changes = {
    optimizer: { kind: 'sgd', lr: 0.02 },
    head: { kind: 'arcface', marginRad: 0.2, scale: 16 },
    pretend: { classes: 11 },
    epochs: 3,
  };
  const whole = runOf('nccl', 'whole', changes);
  const cut = runOf('nccl', 'cut', changes);
  const resumedOn = (processes: number): Run => ({
    ...runOf('nccl', `on-${processes}`, changes),
    copyOf: cut.out,
    resume: true,
  });
  await inProcesses(4, 'training', [whole, { ...cut, stopIn: 6 }, resumedOn(4)]);
  assert.equal(log(at('cut')).length, 6, 'one process was told to stop, all did');
  const shapes = scope(() =>
    [...readSafetensors(runFiles(at('cut')).checkpoint).tensors].map(([name, value]) => [name, value.shape] as const),
  );
  const wide = shapes.filter(([, shape]) => shape[0] === 11).map(([name]) => name.replace(/\d+$/, ''));
  assert.deepEqual(wide, ['head.weight', 'optimizer.velocity.'], 'one matrix, and one of its momentum');
  assert.deepEqual(weights(at('on-4')), weights(whole.out), 'to the byte, as if never stopped');
  cpSync(cut.out, at('on-1'), { recursive: true });
  await alone(resumedOn(1), { resume: true });
  for (const processes of [2, 3]) await inProcesses(processes, 'training', [resumedOn(processes)]);
  for (const processes of [1, 2, 3])
    assertAlike(whole.out, at(`on-${processes}`), `on ${processes}`, { resumed: true });
});

test('an unreadable image that several processes met, in one epoch or another, counts once', async () => {
  const { at } = await bench();
  const prefix = at('images');
  for (const label of ['a', 'b', 'c']) {
    mkdirSync(join(prefix, label), { recursive: true });
    for (let i = 0; i < 6; i++)
      writeFileSync(join(prefix, label, `${i}.pgm`), encodePgm(pattern(label.charCodeAt(0), i, 16), 16, 16));
  }
  writeFileSync(join(prefix, 'b', '2.pgm'), 'no picture');
  const changes = { ...recipe, epochs: 12 }; // long enough for each process to meet it
  await inProcesses(2, 'training', [{ prefix, out: at('replaced'), changes, skipBadImages: true }]);
  assert.equal(readRunManifest(at('replaced')).badImages, 1);
});

test('a batch that does not divide, another recipe, and an output that stands there, stop every process', async () => {
  const { at, runOf } = await bench();
  const codes = async (run: Run): Promise<string[]> =>
    (await endsOf(2, 'training', [run])).map(({ code, err }) => {
      assert.notEqual(code, 0);
      return err;
    });
  for (const err of await codes(runOf('independent', 'odd', { batchSize: 9 })))
    assert.match(err, /batchSize 9 does not divide among 2 processes\n.*multiple of 2/);
  for (const err of await codes(runOf('independent', 'odd', { accumulate: 4 })))
    assert.match(err, /each of 2 processes has 6 images of a batch: 4 equal parts are impossible/);
  for (const err of await codes({ ...runOf('independent', 'q'), quarrel: true }))
    assert.match(err, /process 1 has another recipe than process 0 \(\w+, \w+\)\n.*same --set/);
  const [first, second] = await codes({ ...runOf('independent', 'x'), out: at('features') });
  assert.match(first!, /a finished run stands there/);
  assert.match(second!, /process 0 stopped: .*a finished run stands there/);
});
