import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { testFolder } from '../../test/helpers/folder.ts';
import { Rng } from '../base/rng.ts';
import { packageRoot } from '../base/version.ts';
import { evaluationArtifact } from '../eval/evaluation-artifact.ts';
import {
  calibrate,
  type Evaluation,
  evaluate,
  pairOf,
  readThresholds,
  type ThresholdPair,
  type Thresholds,
} from '../eval/index.ts';
import { thresholdsSchema } from '../eval/thresholds-schema.ts';
import { renderThresholds } from '../report/terminal.ts';
import { writeReports } from './reports.ts';
import { writeThresholds } from './thresholds.ts';

const [CLASSES, EACH, DIM] = [40, 5, 8];
const labels = Int32Array.from({ length: CLASSES * EACH }, (_, i) => Math.floor(i / EACH));
const centres = new Rng('centres');
const centre = Array.from({ length: CLASSES * DIM }, () => centres.uniform() - 0.5);
function rows(name: string, noise: number): Float32Array {
  const rng = new Rng(name);
  return Float32Array.from(
    { length: labels.length * DIM },
    (_, k) => centre[labels[Math.floor(k / DIM)]! * DIM + (k % DIM)]! + noise * (rng.uniform() - 0.5),
  );
}
const [oldRows, newRows] = [rows('old', 1), rows('new', 0.5)];

/** A folder with the evaluation of two models. */
async function judged(t: TestContext): Promise<{ readonly folder: string; readonly evaluation: Evaluation }> {
  const folder = join(testFolder(t), 'judge');
  const evaluation = evaluate({
    title: 'two models',
    dataset: { path: 'set', digest: 'of the set' },
    labels,
    families: new Int32Array(labels.length).fill(-1),
    old: { name: 'old', rows: oldRows, dim: DIM, digest: 'digest of old' },
    candidates: [{ name: 'new', rows: newRows, dim: DIM, digest: 'digest of new' }],
    far: 0.01,
    resamples: 50,
  });
  await evaluationArtifact.write(folder, {}, async (directory) => {
    await writeReports(directory, evaluation, {});
    return { seed: 0 };
  });
  return { folder, evaluation };
}

/** What a service in any language does with the file: plain JSON and arithmetic. */
function logOddsByJson({ calibration: c }: ThresholdPair, score: number): number {
  if (c!.kind === 'platt') return c!.slope * score + c!.intercept;
  const { scores, logOdds, outerSlope } = c!;
  const last = scores.length - 1;
  if (score < scores[0]!) return logOdds[0]! - outerSlope * (scores[0]! - score);
  if (score >= scores[last]!) return logOdds[last]! + outerSlope * (score - scores[last]!);
  const k = scores.findIndex((knot) => knot > score) - 1;
  const share = (score - scores[k]!) / (scores[k + 1]! - scores[k]!);
  return logOdds[k]! + share * (logOdds[k + 1]! - logOdds[k]!);
}

test('a service that reads the file accepts what the evaluation says, and has scores of both spaces on one scale', async (t) => {
  const { folder, evaluation } = await judged(t);
  const out = join(folder, '../thresholds.json');
  const { thresholds } = writeThresholds([folder], { out });
  assert.deepEqual(readThresholds(out), thresholds);
  const file: Thresholds = JSON.parse(readFileSync(out, 'utf8'));
  assert.deepEqual(file, thresholds);
  const [{ far, oldThreshold, pairs } = assert.fail()] = file.evaluations;
  assert.equal(far, 0.01);
  assert.deepEqual(
    pairs.map(({ query, gallery, grade }) => [query, gallery, grade]),
    [
      ['old', 'old', undefined],
      ['new', 'new', undefined],
      ['new', 'old', evaluation.candidates[0]!.dropIn!.grade],
    ],
  );
  const cosine = (q: Float32Array, i: number, g: Float32Array, j: number): number => {
    const [a, b] = [q.subarray(i * DIM, (i + 1) * DIM), g.subarray(j * DIM, (j + 1) * DIM)];
    return a.reduce((sum, x, d) => sum + x * b[d]!, 0) / (Math.hypot(...a) * Math.hypot(...b));
  };
  const rowsOf: Readonly<Record<string, Float32Array>> = { old: oldRows, new: newRows };
  for (const pair of pairs) {
    // which side of a pair is the gallery is drawn: the mean of both ways has the same expectation
    const scores: Record<'genuine' | 'impostor', number[]> = { genuine: [], impostor: [] };
    for (const [i, label] of labels.entries())
      for (const [j, other] of labels.entries())
        if (i !== j)
          scores[label === other ? 'genuine' : 'impostor'].push(
            cosine(rowsOf[pair.query]!, i, rowsOf[pair.gallery]!, j),
          );
    const accepted = (of: readonly number[], threshold: number): number =>
      of.filter((score) => score > threshold).length / of.length;
    const what = `${pair.query} → ${pair.gallery}`;
    const around = (x: number, share: number, tolerance: number): void =>
      assert.ok(Math.abs(x - share) <= tolerance, `${what}: ${x}, wanted about ${share}`);
    const exact = pair.query === pair.gallery ? 1e-9 : 0.02;
    around(pair.atOldThreshold.tar.value!, accepted(scores.genuine, oldThreshold!), exact);
    around(
      pair.atOldThreshold.far.value!,
      accepted(scores.impostor, oldThreshold!),
      pair.query === pair.gallery ? 1e-9 : 2e-3,
    );
    assert.ok(accepted(scores.impostor, pair.threshold.value!) <= far + (pair.query === pair.gallery ? 0 : 2e-3), what);
    const some = Float64Array.of(-0.5, ...scores.genuine.slice(0, 20), ...scores.impostor.slice(0, 20), 1);
    const { calibration } = evaluation.tests.find(
      ({ query, gallery }) => query === pair.query && gallery === pair.gallery,
    )!.operatingPoint!.calibration!;
    for (const [k, odds] of calibrate(calibration, some).entries())
      assert.ok(Math.abs(odds - logOddsByJson(pair, some[k]!)) < 1e-9, what);
    assert.ok(Math.abs(pair.calibratedThreshold! - logOddsByJson(pair, pair.threshold.value!)) < 1e-9);
  }
  const [byName, byDigest] = [
    pairOf(thresholds, { query: { name: 'new' }, gallery: { name: 'old' } }),
    pairOf(thresholds, { query: { digest: 'digest of new' }, gallery: { digest: 'digest of old' } }),
  ];
  assert.equal(byName, byDigest);
  assert.equal(byName!.grade, evaluation.candidates[0]!.dropIn!.grade);
  assert.equal(pairOf(thresholds, { query: { digest: 'other' }, gallery: { digest: 'digest of old' } }), undefined);
  // a later evaluation that does not judge the model, because it is its oracle, says less
  const { grade: _, ...ungraded } = byDigest!;
  const later = { ...thresholds.evaluations[0]!, pairs: [ungraded] };
  assert.equal(
    pairOf(
      { ...thresholds, evaluations: [...thresholds.evaluations, later] },
      { query: { digest: 'digest of new' }, gallery: { digest: 'digest of old' } },
    ),
    byDigest,
  );
});

test('the published JSON Schema describes the file, and the terminal shows what is in it', async (t) => {
  const { folder } = await judged(t);
  const { thresholds, evaluations } = writeThresholds([folder, folder], {});
  assert.equal(thresholds.evaluations.length, 2);
  const schema = z.toJSONSchema(thresholdsSchema, { io: 'input' }) as JsonSchema;
  const undescribed = missingIn(schema, thresholds);
  assert.deepEqual(undescribed, [], 'every field of the file is in the schema');
  const text = renderThresholds(evaluations);
  for (const part of ['At the old threshold', 'threshold for FAR 1e-2', 'new → old', 'Calibration to log-odds'])
    assert.ok(text.includes(part), part);
});

type JsonSchema = {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
};

/** Paths of fields that a schema does not have. */
function missingIn(schema: JsonSchema, value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) {
    const found = choices.map((choice) => missingIn(choice, value, path)).sort((a, b) => a.length - b.length);
    return found[0]!;
  }
  if (Array.isArray(value)) return value.flatMap((item, i) => missingIn(schema.items ?? {}, item, `${path}.${i}`));
  return Object.entries(value).flatMap(([key, item]) => {
    const of = schema.properties?.[key];
    return of ? missingIn(of, item, `${path}.${key}`) : [`${path}.${key}`];
  });
}

test('evaluations without such figures, damaged files and files of others are refused', async (t) => {
  const { folder } = await judged(t);
  const earlier = join(packageRoot, 'test/fixtures/0.3.0/experiment/judge');
  assert.throws(
    () => writeThresholds([earlier], {}),
    /judge: has no figures at the old threshold, because it was made by/,
  );
  const out = join(folder, '../own.json');
  writeFileSync(out, '{"mine": 1}\n');
  assert.throws(() => writeThresholds([folder], { out }), /own\.json exists already/);
  assert.throws(() => writeThresholds([folder], { out, force: true }), /own\.json is not a file of thresholds/);
  assert.throws(() => readThresholds(out), /own\.json: "kind" is damaged/);
  const written = join(folder, '../thresholds.json');
  writeThresholds([folder], { out: written });
  assert.throws(() => writeThresholds([folder], { out: written }), /exists already/);
  writeThresholds([folder], { out: written, force: true });
  const damaged = JSON.parse(readFileSync(written, 'utf8'));
  damaged.evaluations[0].pairs[1].threshold.value = 'high';
  writeFileSync(written, JSON.stringify(damaged));
  assert.throws(() => readThresholds(written), /"evaluations\.0\.pairs\.1\.threshold\.value" is damaged/);
  const inside = join(folder, 'evaluation.json');
  const whole = readFileSync(inside, 'utf8');
  writeFileSync(
    inside,
    whole.replace(/"slope": [-\d.e]+/, '"slope": "steep"').replace(/"outerSlope": [-\d.e]+/, '"outerSlope": []'),
  );
  assert.throws(() => writeThresholds([folder], {}), /evaluation\.json: its "tests\.0\.operatingPoint\.calibration\./);
});
