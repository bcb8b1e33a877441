// Search spaces, successive halving and scores; a whole tuning, killed, continued, repeated.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { z } from 'zod';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { relateClasses } from '../../test/helpers/tuning.ts';
import { Rng } from '../base/rng.ts';
import { readYaml } from '../base/yaml.ts';
import { loadExperiment } from '../experiment/load.ts';
import { writeFeatureSet } from '../features/index.ts';
import { defineMethod, methods, registerMethod } from '../methods/index.ts';
import { l2 } from '../methods/l2.ts';
import { parseRecipe } from '../runs/load-recipe.ts';
import { stages } from '../stages/index.ts';
import { mean, mul, setThreads } from '../torch/index.ts';
import { betterHalf, ranked, roundsOf } from './halving.ts';
import { harmonicGain, scoreTrial } from './score.ts';
import { drawTrials, pointsOf } from './search-space.ts';
import { nameOf, optionsOf, searched } from './searched.ts';
import { type TrialJob, TrialRuns } from './trial-runs.ts';
import { type TuneOptions, trialsFolder, tuneExperiment, tuningFolder } from './tune-experiment.ts';
import { planTuning } from './tune-plan.ts';
import { readTuning, tuningArtifact, tuningFiles } from './tuning-artifact.ts';
import { drawTuning, renderTuning } from './tuning-report.ts';

before(() => setThreads(1));

/** Trials of every method by default. */
const TRIALS = 6;

test('published methods declare search spaces of valid options, large enough for every method to have its trials', () => {
  const published = ['mixbct', 'l2', 'bct', 'unibct', 'nccl', 'advbct', 'lce', 'ract', 'bt2', 'hoc'];
  for (const { name, search, options } of Object.values(methods)) {
    if (!search) {
      assert.ok(!published.includes(name), name);
      continue;
    }
    const points = pointsOf(search).map((point) => JSON.stringify(options.parse(point)));
    assert.equal(new Set(points).size, points.length, `${name} has a point twice`);
    assert.ok(points.length > TRIALS, `${name}: ${points.length}`);
  }
});

test('trials are the experiment’s options first, then other points without repetition, by the seed alone', () => {
  const own = { weight: 10, threshold: 0, squared: true };
  const draw = (seed: number, trials = TRIALS) => drawTrials(searched(l2.name), own, { trials, rng: new Rng(seed) });
  const drawn = draw(1);
  assert.deepEqual(drawn[0], own);
  assert.ok(
    drawn.every(({ squared }) => squared === true),
    'what is no axis stays',
  );
  assert.equal(new Set(drawn.map((options) => JSON.stringify(options))).size, TRIALS);
  assert.deepEqual(draw(1), drawn);
  assert.notDeepEqual(draw(2), drawn);
  assert.throws(() => draw(1, 13), /l2 has 12 settings to try, and every method gets 13 trials/);
  assert.throws(() => drawTrials(searched('independent'), {}, { trials: 2, rng: new Rng(0) }), /no search space/);
});

test('a composition is tuned as one method: its options carry the names of its parts, its space is that of all of them', () => {
  const { options, search, section } = searched('l2+bct');
  const own = options.parse({ 'l2.weight': 3 });
  assert.deepEqual(section(own), {
    kind: 'compose',
    of: [
      { kind: 'l2', ...l2.options.parse({ weight: 3 }) },
      { kind: 'bct', ...methods.bct.options.parse({}) },
    ],
  });
  assert.deepEqual([nameOf(section(own)), optionsOf(section(own))], ['l2+bct', own]);
  assert.equal(pointsOf(search!).length, pointsOf(l2.search!).length * pointsOf(methods.bct.search!).length);
  const drawn = drawTrials({ name: 'l2+bct', options, search }, own, { trials: TRIALS, rng: new Rng(1) });
  assert.ok(drawn.slice(1).some((point) => point['l2.weight'] !== 3 && point['bct.scale'] !== own['bct.scale']));
  assert.throws(() => searched('bct+bct'), /bct is listed twice/);
  assert.throws(() => searched('bct+l3'), /no method called l3/);
});

test('rounds take a quarter, half and all of the epochs; the better half goes on with its ties, failures last', () => {
  assert.deepEqual([roundsOf(5), roundsOf(8), roundsOf(1)], [[2, 3, 5], [2, 4, 8], [1]]);
  const scores = [0.2, 0.5, Number.NEGATIVE_INFINITY, 0.5, 0.1].map((score, trial) => ({ trial, score }));
  assert.deepEqual(betterHalf(scores), [1, 3, 0]);
  assert.equal(ranked(scores).at(-1)!.trial, 2);
  // a round in which no option acts yet tells no trials apart
  const of = (...all: number[]) => betterHalf(all.map((score, trial) => ({ trial, score })));
  assert.deepEqual(of(1, 1, 1, 1, 1, 1), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(of(1, 2, 3, 2), [2, 1, 3], 'who ties with the last that goes on');
});

test('the score is the harmonic mean of gains less the tax; of gains that are not positive the least, continuous at 0', () => {
  const near = (a: number, b: number): boolean => Math.abs(a - b) < 1e-12;
  assert.ok(near(harmonicGain([0.2, 0.6]), 0.3));
  assert.deepEqual([harmonicGain([-0.5, 0.9]), harmonicGain([0, 0.9])], [-0.5, 0]);
  assert.ok(harmonicGain([1e-9, 0.9]) < 1e-8);
  const sides = (metric: string, newOld: number, newNew: number, oracle = 0.9) => ({
    metric,
    oldOld: 0.5,
    newOld,
    newNew,
    oracle,
  });
  const [tar, rank] = ['TAR@FAR=1e-3', 'rank-1'];
  const scored = scoreTrial([sides(tar, 0.58, 0.8), sides(rank, 0.74, 0.95)], 'gain');
  // gains 0.2 and 0.6; tax 0.25, and none where the new model is better than the oracle
  assert.ok(near(scored.score, 0.3 - 0.125) && near(scored.tax!, 0.125));
  assert.equal(scoreTrial([sides(tar, 0.58, 0.8), sides(rank, 0.74, 0.95)], 'rank-1').score, 0.74);
  assert.throws(
    () => scoreTrial([sides(tar, 0.6, 0.6, 0.4), sides(rank, 0.6, 0.6)], 'gain'),
    /oracle is not better than the old model by TAR/,
  );
});

const network = { name: 'r18', embeddingDim: 8, inputSide: 16, width: 0.0625 };
const optimizer = { kind: 'adamw', lr: 0.003 };

/** An experiment with 14 classes of 6 images, 4 for the old model. */
async function experimentIn(folder: string): Promise<string> {
  await writeTinySet(join(folder, 'set'), { perClass: new Array(14).fill(6) });
  const recipe = { network, optimizer, epochs: 2, batchSize: 6 };
  const file = join(folder, 'x.json');
  writeFileSync(
    file,
    JSON.stringify({
      title: 'tiny',
      seed: 3,
      stages: {
        data: { do: 'split', of: join(folder, 'set'), by: 'class', ratio: 0.3 },
        old: { do: 'train', on: 'data.first', recipe: { ...recipe, head: { kind: 'softmax' }, epochs: 1 } },
        features: { do: 'extract', model: 'old', of: 'data.second' },
        new: {
          do: 'train',
          on: 'data.second',
          old: { features: 'features' },
          recipe: { ...recipe, method: { kind: 'l2' } },
        },
      },
    }),
  );
  return file;
}

const tuning = (folder: string, changes: Partial<TuneOptions> = {}): TuneOptions => ({
  ...{ out: join(folder, 'out'), dataFolder: folder, trials: 3, validation: 4, metric: 'rank-1', workers: 0 },
  signal: new AbortController().signal,
  ...changes,
});

/** When each trial's model was finished. */
const finished = (out: string): Record<string, number> =>
  Object.fromEntries(
    readdirSync(trialsFolder(out))
      .map((name) => [name, join(trialsFolder(out), name, 'model/manifest.json')] as const)
      .filter(([, manifest]) => existsSync(manifest))
      .map(([name, manifest]) => [name, statSync(manifest).mtimeMs]),
  );

/** Runs a command until a line of its news, then kills it as if the power had failed. */
async function killedAfter(line: RegExp, words: readonly string[]): Promise<void> {
  const main = resolve(import.meta.dirname, '../cli/main.js');
  const child = spawn(process.execPath, [main, ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
  let news = '';
  child.stderr.on('data', (chunk) => {
    news += chunk;
    if (line.test(news)) child.kill('SIGKILL');
  });
  const [, signal] = await once(child, 'close');
  assert.equal(signal, 'SIGKILL', news);
}

/** Calls `body` until the processes of one that was killed have noticed. */
async function onceAlone<T>(body: () => Promise<T>): Promise<T> {
  for (let looks = 0; ; looks++)
    try {
      return await body();
    } catch (error) {
      if (looks === 600 || !/is writing it since/.test(String(error))) throw error;
      await setTimeout(100);
    }
}

test('a tuning tries, halves and chooses on classes that no trial was trained on; killed, it goes on; the choice is the seed’s', async (t) => {
  const folder = testFolder(t);
  const file = await experimentIn(folder);
  const { out } = tuning(folder);
  const words = ['tune', file, '--trials', '3', '--validation', '4', '--metric', 'rank-1', '--workers', '0'];
  const here = ['--out', out, '--folder', folder, '--threads', '1', '--at-once', '2'];
  await killedAfter(/(l2 \d, 1 epochs: score[\s\S]*){2}/, [...words, ...here]);
  const before = finished(out);
  assert.ok(Object.keys(before).length >= 2, 'two trials are finished');

  const result = await onceAlone(() => tuneExperiment(file, tuning(folder)));
  for (const [name, at] of Object.entries(before))
    assert.equal(finished(out)[name], at, `${name} is not trained again`);
  const [method] = result.methods;
  assert.deepEqual([result.stage, result.rounds, result.validation.classes], ['new', [1, 2], 4]);
  const first = method!.trials.map(({ trial, rounds }) => ({ trial, score: rounds[0]!.score }));
  const goesOn = new Set([...betterHalf(first), 0]);
  assert.deepEqual(
    method!.trials.map(({ rounds }) => rounds.length),
    first.map(({ trial }) => (goesOn.has(trial) ? 2 : 1)),
  );
  const scores = method!.trials.map(({ rounds }) => rounds[1]?.score ?? -1);
  assert.equal(scores[method!.chosen!], Math.max(...scores));
  // nothing that a trial was trained on is judged
  for (const relation of relateClasses(out)) assert.equal(relation, 'disjoint');

  const folderOfResult = tuningFolder(out);
  assert.deepEqual(readTuning(folderOfResult), result);
  const files = tuningFiles(folderOfResult);
  assert.match(readFileSync(files.figure, 'utf8'), /<svg[\s\S]*l2 0: as in the experiment/);
  const recipe = parseRecipe(readYaml(files.recipe('l2')), 'the chosen recipe');
  assert.deepEqual(recipe.method, { kind: 'l2', ...method!.trials[method!.chosen!]!.options });
  assert.match(
    stripVTControlCharacters(renderTuning(result)),
    /^method +trial +settings[\s\S]*chosen[\s\S]*4 validation classes/,
  );
  assert.match(String(tuningArtifact.describe(folderOfResult).facts['l2']), /^trial \d of 3: weight=/);

  const times = finished(out);
  assert.deepEqual(await tuneExperiment(file, tuning(folder)), result, 'a finished tuning is read');
  for (const changes of [
    { trials: 2 },
    { settings: ['stages.old.recipe.epochs=2'] },
    { settings: ['stages.data.ratio=0.4'] },
  ])
    await assert.rejects(
      tuneExperiment(file, tuning(folder, changes)),
      /different options or data stands there\n.*--force/,
      JSON.stringify(changes),
    );
  assert.deepEqual(finished(out), times);
  rmSync(out, { recursive: true });
  const again = await tuneExperiment(file, tuning(folder, { atOnce: 2 }));
  assert.deepEqual(again, result, 'the same seed, the same choice, however many trials at a time');

  // inputs from outside count by their content
  for (const name of readdirSync(folder).filter((one) => one.startsWith('set.')))
    renameSync(join(folder, name), join(folder, name.replace('set', 'moved')));
  assert.deepEqual(await tuneExperiment(file, tuning(folder)), result, 'images that are gone are those of the records');
  await writeTinySet(join(folder, 'set'), { perClass: new Array(14).fill(7) });
  await assert.rejects(tuneExperiment(file, tuning(folder)), /different options or data stands there\n.*--force/);
  const moved = JSON.parse(readFileSync(file, 'utf8'));
  moved.stages.data.of = join(folder, 'moved');
  writeFileSync(join(folder, 'y.json'), JSON.stringify(moved));
  assert.deepEqual(await tuneExperiment(join(folder, 'y.json'), tuning(folder)), result);
});

test('a plan takes each method as its stage has it, the named stage first: options, network, projection, mask', async () => {
  const plan = async (name: string, given: Partial<Parameters<typeof planTuning>[1]> = {}, settings: string[] = []) =>
    planTuning(await loadExperiment(`experiments/${name}.yaml`, { kinds: stages, settings }), {
      methods: [],
      validation: 4,
      ...given,
    });
  const best = await plan('best');
  const bt2 = best.methods.find(({ method }) => method === 'bt2')!;
  assert.deepEqual(
    [bt2.recipe.network.embeddingDim, bt2.recipe.projection, best.recipe.network.embeddingDim, best.recipe.projection],
    [160, { dim: 128, orthonormal: true }, 128, null],
  );
  const quick = await plan('quickstart', {}, ['stages.credible.keep=0.5']);
  assert.equal(quick.prepared.stages['tune-credible']?.['keep'], 0.5);
  assert.deepEqual(quick.methods.find(({ method }) => method === 'mixbct')!.inputs, ['features', 'credible']);
  const weak = await plan('open-class', { stage: 'weakened-l2', methods: ['l2'] });
  assert.equal(weak.methods[0]!.own['threshold'], 0.4);
  await assert.rejects(plan('quickstart', { methods: ['bt2'] }), /bt2: wanted an orthonormal projection/);
  await assert.rejects(plan('best', { stage: 'bt2', methods: ['mixbct+bt2'] }), /mixbct cannot project/);
  await assert.rejects(
    plan('quickstart', {}, ['stages.l2.init=oracle']),
    /stage l2 begins from the model oracle, which may have been trained on classes that tuning holds out/,
  );
});

test('a method without a stage has the options of the experiment’s preset; a composition has its stage in any order', async () => {
  const plan = async (name: string, method: string, settings: string[] = []) =>
    planTuning(await loadExperiment(`experiments/${name}.yaml`, { kinds: stages, settings }), {
      methods: [method],
      validation: 4,
    });
  const reference = ['preset=reference'];
  const { methods: bcts, withoutStage } = await plan('quickstart', 'bct', reference);
  const [bct] = bcts;
  assert.deepEqual([bct!.own['weight'], bct!.own['scale'], bct!.recipe.preset], [1, 1, 'reference']);
  assert.deepEqual(withoutStage, ['bct']);
  const [composed] = (await plan('quickstart', 'l2+bct', reference)).methods;
  assert.deepEqual([composed!.own['bct.scale'], composed!.own['l2.weight']], [1, l2.options.parse({}).weight]);
  const [ours] = (await plan('quickstart', 'bct')).methods;
  assert.deepEqual(ours!.own, methods.bct.options.parse({}));

  const weights = ['stages.pairs-joint.recipe.method.of.0.weight=7'];
  for (const method of ['pairs+joint', 'joint+pairs']) {
    const found = await plan('open-class', method, weights);
    assert.deepEqual([found.methods[0]!.own['pairs.weight'], found.withoutStage], [7, []], method);
  }
});

test('a warm-up that is longer than the first round is refused, for its rate would never fall', async () => {
  const plan = async (warmup: number) =>
    planTuning(
      await loadExperiment('experiments/quickstart.yaml', {
        kinds: stages,
        settings: [`stages.l2.recipe.schedule.warmupEpochs=${warmup}`],
      }),
      { methods: [], validation: 4 },
    );
  await plan(2);
  await assert.rejects(
    plan(2.5),
    /stage l2: schedule\.warmupEpochs 2\.5, and the first round trains 2 of 5 epochs.*\n.*schedule\.warmupEpochs to 2 or less, or its epochs to 9 or more/,
  );
});

test('a trial whose weights are finite and whose embeddings are not has diverged; the others go on', async (t) => {
  const folder = testFolder(t);
  const run = TrialRuns.prototype.run;
  t.mock.method(TrialRuns.prototype, 'run', async function (this: TrialRuns, name: string, job: TrialJob) {
    if (name !== 'l2-1-1') return await run.call(this, name, job);
    const content = { dim: 2, classes: 1, model: null, dataset: null, flip: 'none' as const };
    const rows = { labels: new Int32Array(1), families: new Int32Array(1) };
    await writeFeatureSet(join(folder, 'overflows'), { ...content, ...rows }, {}, ({ append }) =>
      append(Float32Array.of(1, Number.NaN)),
    );
  });
  const result = await tuneExperiment(await experimentIn(folder), tuning(folder, { trials: 2 }));
  assert.deepEqual(
    result.methods[0]!.trials.map(({ problem, rounds }) => [problem, rounds.length]),
    [
      [undefined, 2],
      ['diverged', 0],
    ],
  );
  assert.equal(result.methods[0]!.chosen, 0);
});

test('a method whose trainings all diverge is reported as such and has no recipe; the others have theirs', async (t) => {
  const breaks = defineMethod({
    name: 'breaks',
    source: 'a loss that is no number',
    needs: [],
    projects: true,
    options: z.strictObject({ a: z.number().default(1) }),
    search: [[1, 2, 3].map((a) => ({ a }))],
    start: () => ({
      terms: ({ embeddings }) => ({ classify: { value: mul(mean(embeddings), Number.NaN), weight: 1 } }),
    }),
  });
  registerMethod(breaks);
  const folder = testFolder(t);
  const file = await experimentIn(folder);
  const result = await tuneExperiment(file, tuning(folder, { methods: ['breaks', 'l2'], trials: 2 }));
  const [broken, l2Tuned] = result.methods;
  assert.deepEqual([broken!.chosen, ...broken!.trials.map(({ problem }) => problem)], [null, 'diverged', 'diverged']);
  assert.ok(l2Tuned!.chosen !== null);
  assert.match(renderTuning(result), /breaks +0 +defaults[\s\S]*diverged/);
  assert.match(renderTuning(result), /l2 +0 +as in the experiment/);
  assert.match(drawTuning({ ...result, methods: [{ ...l2Tuned!, defaults: true }] }), /l2 0: defaults/);
  const place = tuningFolder(tuning(folder).out);
  const files = tuningFiles(place);
  assert.ok(existsSync(files.figure) && existsSync(files.recipe('l2')) && !existsSync(files.recipe('breaks')));
  assert.match(String(tuningArtifact.describe(place).facts['breaks']), /every trial of 2 diverged/);
});

test('what cannot be tuned is an error that says why', async (t) => {
  const folder = testFolder(t);
  const file = await experimentIn(folder);
  const refused = (changes: Partial<TuneOptions>, why: RegExp) =>
    assert.rejects(tuneExperiment(file, tuning(folder, changes)), why);
  await refused({ stage: 'neu' }, /neu: no stage that trains with an old model; did you mean new\?/);
  await refused({ methods: ['l3'] }, /no method called l3/);
  await refused({ methods: ['independent'] }, /independent declares no search space/);
  await refused({ trials: 40 }, /l2 has 12 settings to try/);
  assert.ok(!existsSync(join(folder, 'out')), 'nothing was made');
});
