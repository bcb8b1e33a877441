import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseOption, identitiesToDecide } from './decide.ts';
import type { Limits } from './options.ts';
import { acceptable, type PlanOption, type Way } from './plan-artifact.ts';

const exact = (value: number) => ({ value, low: value, high: value });
const option = (
  way: Way,
  model: string,
  gain: { value: number; low: number; high: number },
  standing: PlanOption['standing'] = 'proven', // biome-ignore format: short
) =>
  ({
    ...{ way, model, adapter: null, standing, reasons: [], start: null, end: exact(0.5), gain, worst: null },
    ...{
      dropIn: null,
      order: null,
      merge: null,
      movedFor95: null,
      reEmbed: 0,
      rewrite: 0,
      hours: 0,
      bytes: null,
      threshold: null,
    },
  }) satisfies PlanOption;
const keep = option('keep', 'old', exact(0));
const limits: Limits = { minGain: 0, maxLoss: 0, maxHours: null, accept: acceptable };
const chosen = (options: readonly PlanOption[], changes: Partial<Limits> = {}): string => {
  const { way, model } = chooseOption([keep, ...options], { ...limits, ...changes });
  return `${way} ${model}`;
};

test('a dearer way is taken only if its whole interval lies above that of the cheaper one', () => {
  const deploy = option('deploy', 'a', { value: 0.05, low: 0.04, high: 0.06 });
  const backfill = (low: number) => option('backfill', 'a', { value: 0.2, low, high: 0.3 });
  assert.equal(chosen([deploy, backfill(0.06)]), 'deploy a', 'intervals that touch');
  assert.equal(chosen([deploy, backfill(0.061)]), 'backfill a');
  assert.equal(chosen([deploy, backfill(0.061)], { minGain: 0.02 }), 'deploy a');
  const reEmbed = option('re-embed', 'o', { value: 0.22, low: 0.1, high: 0.33 });
  assert.equal(chosen([deploy, backfill(0.15), reEmbed]), 'backfill a');
  assert.equal(chosen([reEmbed, backfill(0.15), deploy]), 'backfill a', 'the order of the list does not matter');
});

test('of one way the largest gain is taken, the first of equal ones, and nothing that is not proven', () => {
  const deploy = (model: string, gain: number, standing?: PlanOption['standing']) =>
    option('deploy', model, exact(gain), standing);
  assert.equal(chosen([deploy('a', 0.1), deploy('b', 0.2), deploy('c', 0.2)]), 'deploy b');
  assert.equal(chosen([deploy('a', 0.1), deploy('b', 0.2, 'undecided'), deploy('c', 0.3, 'ruled out')]), 'deploy a');
  assert.equal(chosen([deploy('b', 0.2, 'undecided')]), 'keep old');
});

test('drop-in accepts deploying at the same threshold only', () => {
  const deploy = (dropIn: PlanOption['dropIn']) => ({ ...option('deploy', 'a', exact(0.1)), dropIn });
  const accept = ['drop-in'] as const;
  for (const [grade, wanted] of [['drop-in', 'deploy a'], ['new threshold', 'keep old'], [null, 'keep old']] as const) // biome-ignore format: short
    assert.equal(chosen([deploy(grade)], { accept }), wanted, `${grade}`);
  assert.equal(chosen([{ ...option('backfill', 'a', exact(0.1)), dropIn: 'drop-in' }], { accept }), 'keep old');
});

test('identities to decide: the half width falls with the root of their number', () => {
  assert.equal(identitiesToDecide({ value: 0.02, low: -0.02, high: 0.06 }, 0, 100), 400);
  assert.equal(identitiesToDecide({ value: 0.03, low: -0.02, high: 0.06 }, 0.01, 100), 625);
  assert.equal(identitiesToDecide({ value: 0.02, low: 0.01, high: 0.06 }, 0, 100), 100, 'never fewer than there were');
  assert.equal(identitiesToDecide({ value: 0, low: -0.02, high: 0.06 }, 0, 100), null);
  assert.equal(identitiesToDecide({ value: -0.01, low: -0.02, high: 0.06 }, 0, 100), null);
});
