import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackfillCurve } from '../backfill/index.ts';
import { backfillEvidence, type SimulationAt } from './backfill-evidence.ts';
import type { Evidence, ModelEvidence, Quality } from './evidence.ts';

const quality = (value: number): Quality => ({
  value: { value, low: value, high: value },
  overOld: { value: value - 0.5, low: value - 0.5, high: value - 0.5 },
  ...{ threshold: null, atOldThreshold: null, behind: [] },
});

/** A new model: 0.5 of old → old, 0.6 on the old gallery, 0.8 on its own. */
const model = (name: string, changes: Partial<ModelEvidence> = {}): ModelEvidence => ({
  ...{
    name,
    digest: null,
    dim: 4,
    adapter: null,
    own: quality(0.8),
    onOld: quality(0.6),
    dropIn: null,
    withheld: null,
  },
  ...changes,
});
const through = (digest: string): Partial<ModelEvidence> => ({
  adapter: { direction: 'query', method: 'ridge', digest },
});

const evidenceOf = (...models: readonly ModelEvidence[]): Evidence => ({
  ...{ metric: 'rank-1', chance: 0.01, far: 1e-3, models },
  data: { path: 'set', digest: 'set', images: 1000, classes: 100, families: null, identities: 100 },
  old: { name: 'old', dim: 4, quality: quality(0.5) },
});

/** A simulation with one curve. */
function simulated(
  path: string,
  {
    order = 'random',
    area = 0.7,
    worst = 0.6,
    shares = [0, 0.5, 1],
    seed = 0,
    draws = 3,
    ...digests
  }: Partial<Pick<BackfillCurve, 'order' | 'area'> & Pick<SimulationAt, 'model' | 'adapter'>> & {
    worst?: number;
    shares?: readonly number[];
    seed?: number;
    draws?: number;
  } = {},
): SimulationAt {
  const overOld = { value: worst - 0.5, low: worst - 0.5, high: worst - 0.5 };
  const curve: BackfillCurve = {
    ...{ order, merge: 'direct', metric: 'rank-1', value: [], area, belowOld: worst < 0.5 },
    ...{ worst: { share: 0.5, value: worst, overOld }, reaches: { most: area, all: 1 } },
  };
  const protocol = { seed, genuinePairs: 1, impostorPairs: 1, probes: 1, galleries: [1], draws };
  return {
    ...{ path, model: null, adapter: null, ...digests },
    simulation: {
      ...{ kind: 'backfill', version: 1, title: '', crossing: 'direct', shares, skipped: [], protocol },
      dataset: { path: 'set', digest: 'set', images: 1000, classes: 100 },
      ends: [{ metric: 'rank-1', oldOld: 0.5, newOld: 0.6, newNew: 0.8 }],
      curves: [curve],
    },
  };
}

test('the best order is that of all simulations of a model, in any order of these', () => {
  const random = simulated('one', { draws: 20 });
  const best = simulated('two', { order: 'uncertain-first', area: 0.75 });
  const dips = simulated('three', { order: 'nearest-mean-last', area: 0.79, worst: 0.4 });
  for (const simulations of [[random, best, dips], [dips, best, random], [best]]) {
    const [found, ...others] = backfillEvidence(simulations, evidenceOf(model('a')), 0);
    assert.deepEqual([found!.model, found!.order, found!.movedFor95], ['a', 'uncertain-first', 0.75]);
    assert.deepEqual(others, []);
  }
  assert.equal(backfillEvidence([random, best, dips], evidenceOf(model('a')), 0.2)[0]!.order, 'nearest-mean-last');
});

test('simulations of one model with other steps or draws are refused, and both are named', () => {
  const first = simulated('one');
  for (const other of [simulated('two', { shares: [0, 1] }), simulated('two', { seed: 1 })])
    assert.throws(
      () => backfillEvidence([first, other], evidenceOf(model('a')), 0),
      /^UserError: one and two simulate a with different draws or steps.*\n.*same seed, steps/,
    );
});

test('a simulation is of the model with its adapter and digest, where models have the same values', () => {
  const evidence = evidenceOf(
    model('bare'),
    model('by-q', through('q')),
    model('by-r', through('r')),
    model('other', { ...through('r'), digest: 'another model' }),
  );
  const modelsOf = (...simulations: readonly SimulationAt[]) =>
    backfillEvidence(simulations, evidence, 0).map((found) => found.model);
  assert.deepEqual(modelsOf(simulated('one')), ['bare']);
  assert.deepEqual(modelsOf(simulated('one', { adapter: 'q' }), simulated('two')), ['bare', 'by-q']);
  assert.throws(
    () => modelsOf(simulated('one', { adapter: 'r' })),
    /^UserError: one may simulate any of by-r, other: they have the same values by rank-1\n/,
  );
  const known = evidenceOf(
    model('by-r', { ...through('r'), digest: 'a model' }),
    model('other', { ...through('r'), digest: 'another model' }),
  );
  const ofAnother = simulated('one', { adapter: 'r', model: 'another model' });
  assert.equal(backfillEvidence([ofAnother], known, 0)[0]!.model, 'other');
  assert.throws(
    () => modelsOf(simulated('one', { adapter: 'x' })),
    /^UserError: one simulates other models or draws .*: bare, by-q, by-r, other .* another adapter\n/,
  );
});
