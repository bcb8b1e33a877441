// What 0.3.0 left on disk (test/fixtures/make-0.3.0.mjs) opens, evaluates, reports, extracts, trains and goes on to the same end.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../src/base/version.ts';
import { FeatureSet } from '../src/features/index.ts';
import { mixbctEach } from './helpers/cli.ts';
import { testFolder } from './helpers/folder.ts';

/** Steps in the log of the interrupted run. */
const RESUMED_AT = 15;
/** Two processors sum in different orders. Over ten more steps that grows to this, relatively. */
const OTHER_PROCESSOR = 1e-3;
const COMPARABLE_STEPS = 10;
/** After thirty steps single losses differ by a sixth, and their mean by less than this. */
const MEAN_OF_OTHER_PROCESSOR = 0.05;
/** One pass of float32 through a network of 50 layers, unit rows. */
const FORWARD = 1e-4;

const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
const NEW = ['--data', 'experiment/parts/set_train_part_70_class', '--threads', '1'];
const OLD = ['--old-features', 'experiment/old-features'];
const MASK = ['--old-credible', 'experiment/credible'];
const PROTOTYPES = ['--old-prototypes', 'experiment/prototypes'];
const BOUNDARIES = ['--old-boundaries', 'experiment/boundaries'];
const JUDGE = [
  '--old',
  'experiment/old-eval',
  '--new',
  'mixbct=experiment/new-eval',
  '--seed',
  '3',
  '--resamples',
  '20',
];
const method = (kind: string): string[] => ['--set', `method={ kind: ${kind} }`, '--set', 'epochs=1'];

test('artefacts and runs of 0.3.0 open, evaluate, report, extract, resume and train', (t) => {
  const folder = testFolder(t);
  cpSync(join(packageRoot, 'test/fixtures/0.3.0'), folder, { recursive: true });
  const lines: readonly (readonly string[])[] = [
    ['data', 'info', 'set'],
    ['run', 'experiment.yaml', '--out', 'experiment', '--threads', '1'],
    ['report', 'experiment/judge', '--html', 'report.html'],
    ['evaluate', ...JUDGE, '--out', 'judged'],
    ['extract', 'experiment/new', '--data', 'experiment/classes/set_eval', '--out', 'extracted', '--threads', '1'],
    ['denoise', 'experiment/old-features', '--keep', '0.7', '--out', 'credible'],
    ['average', 'experiment/old-features', '--out', 'prototypes'],
    ['boundaries', 'experiment/old-features', '--out', 'boundaries'],
    ['compare', 'experiment/old', 'experiment/new'],
    ['train', 'unfinished/recipe.json', ...NEW, ...OLD, '--out', 'unfinished', '--resume', '--log-every', '1'],
    ['train', 'experiment/new/recipe.json', ...NEW, ...OLD, ...MASK, ...method('mixbct'), '--out', 'mixbct'],
    ['train', 'experiment/new/recipe.json', ...NEW, ...PROTOTYPES, ...method('bct'), '--out', 'bct'],
    ['train', 'experiment/new/recipe.json', ...NEW, ...OLD, ...BOUNDARIES, ...method('advbct'), '--out', 'advbct'],
  ];
  const outcomes = mixbctEach(folder, lines);
  for (const [i, { code, err }] of outcomes.entries()) assert.equal(code, 0, `mixbct ${lines[i]!.join(' ')}\n${err}`);

  // nothing of a finished experiment is made again
  assert.equal(outcomes[1]!.err.match(/done already/g)?.length, 11, outcomes[1]!.err);
  assert.deepEqual(outcomes[1]!.changed, []);

  const at = (path: string): string => join(folder, path);
  const [before, now] = ['experiment/judge', 'judged'].map((path) => json(at(`${path}/evaluation.json`)));
  requireContained(now.tests, before.tests, 'tests');

  for (const name of [
    'credible/credible.npy',
    'prototypes/prototypes.npy',
    'boundaries/centres.npy',
    'boundaries/radii.npy',
  ])
    assert.deepEqual(readFileSync(at(name)), readFileSync(at(`experiment/${name}`)), name);
  using kept = FeatureSet.open(at('experiment/new-eval'));
  using fresh = FeatureSet.open(at('extracted'));
  const [old, again] = [kept, fresh].map((set) => set.rows(Array.from({ length: set.info.count }, (_, i) => i)));
  const gap = old!.reduce((worst, value, i) => Math.max(worst, Math.abs(value - again![i]!)), 0);
  assert.ok(gap < FORWARD, `${gap}`);

  // the interrupted run takes the course that it took with 0.3.0, and where every number of the log is the same, so is the model
  const course = (log: readonly { readonly loss: number; readonly step: number }[]) => log.map(({ loss }) => loss);
  const log = readFileSync(at('unfinished/log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const { log: released, model } = json(at('unfinished.json'));
  assert.equal(log.length, released.length);
  const [ours, theirs] = [course(log), course(released)];
  const close = (now: number, then: number, tolerance: number, what: string): void =>
    assert.ok(Math.abs(now - then) < tolerance * then, `${what}: ${now}, with 0.3.0 ${then}`);
  for (const [i, loss] of theirs.slice(0, RESUMED_AT + COMPARABLE_STEPS).entries())
    close(ours[i]!, loss, OTHER_PROCESSOR, `step ${i + 1}`);
  const mean = (losses: readonly number[]): number => losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  close(mean(ours), mean(theirs), MEAN_OF_OTHER_PROCESSOR, 'mean loss');
  if (String(course(log)) === String(course(released)))
    assert.equal(
      createHash('sha256')
        .update(readFileSync(at('unfinished/model.safetensors')))
        .digest('hex'),
      model,
    );
});

/** 0.3.0 ended resamples at twice the impostors that are accepted, which is too few in a set as small as this. */
const DIFFERS_SINCE = /\.verification\.tar\.\d\.interval$/;

/** Requires that `now` holds all that `before` holds, numbers to rounding; it may hold more. */
function requireContained(now: unknown, before: unknown, path: string): void {
  if (typeof before === 'number' && typeof now === 'number') {
    assert.ok(Math.abs(now - before) < 1e-9, `${path}: ${now}, with 0.3.0 ${before}`);
    return;
  }
  if (before === null || typeof before !== 'object') {
    assert.deepEqual(now, before, path);
    return;
  }
  if (DIFFERS_SINCE.test(path)) return;
  for (const [key, value] of Object.entries(before))
    requireContained((now as Readonly<Record<string, unknown>>)?.[key], value, `${path}.${key}`);
}
