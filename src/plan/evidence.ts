import { isDeepStrictEqual } from 'node:util';
import { UserError } from '../base/errors.ts';
import type { CrossingAdapter, Estimate, Evaluation, JudgedMetric, TestResult } from '../eval/index.ts';
import { metrics } from '../eval/metrics/index.ts';
import { countIdentities, withholdVerdicts } from '../eval/withhold-verdicts.ts';
import { verdict } from '../report/verdict.ts';
import type { PlanOption } from './plan-artifact.ts';

/** An evaluation, and the folder that it was read from, for messages. */
export type EvaluationAt = { readonly path: string; readonly evaluation: Evaluation };

/** What one test says: the metric, what it is more than that of old → old, and the threshold at a FAR. */
export type Quality = {
  readonly value: Estimate;
  readonly overOld: Estimate;
  readonly threshold: number | null;
  /** At the threshold that the old system runs at; null: not measured. */
  readonly atOldThreshold: { readonly tar: number; readonly far: number } | null;
  /** The other metrics of verdicts by which the test falls behind old → old. */
  readonly behind: readonly JudgedMetric[];
};

/** A new model as evaluations judge it. */
export type ModelEvidence = {
  readonly name: string;
  /** Digest of the model; null: unknown. */
  readonly digest: string | null;
  readonly dim: number;
  readonly adapter: CrossingAdapter | null;
  /** Its own queries on its own gallery. */
  readonly own: Quality;
  /** Its queries on the old gallery, or through the adapter; null: it is the oracle, or they cannot be compared. */
  readonly onOld: Quality | null;
  /** Whether its queries serve the old gallery at the threshold that the old system runs at; null: not measured. */
  readonly dropIn: PlanOption['dropIn'];
  /** Why nothing can be concluded about it; null: something can. */
  readonly withheld: string | null;
};

/** What evaluations of one old model on one set say, by one metric. */
export type Evidence = {
  readonly metric: string;
  readonly chance: number;
  /** FAR of the thresholds. */
  readonly far: number;
  readonly data: Evaluation['dataset'] & { readonly identities: number };
  readonly old: { readonly name: string; readonly dim: number; readonly quality: Quality };
  readonly models: readonly ModelEvidence[];
};

/** FAR of the thresholds if neither the metric nor the evaluation has one. */
const USUAL_FAR = 1e-3;

/**
 * Puts evaluations together that judge other models against the same old one by the same protocol.
 * @throws UserError if they do not belong together, lack the metric, or were made before differences to old → old were recorded.
 */
export function gatherEvidence(evaluations: readonly EvaluationAt[], metricName: string): Evidence {
  const [first, ...others] = evaluations;
  if (!first) throw new UserError('nothing to plan from: wanted the folder of an evaluation');
  const metric = metrics.find(({ name, verdict: judged }) => name === metricName && judged);
  if (!metric) throw new UserError(`metric ${metricName}: wanted one of ${planMetrics.join(', ')}`);
  const old = oldOf(first);
  const oldTest = testOf(first, old.name, old.name);
  for (const other of others) requireSameProtocol(first, other, oldTest);
  const far = Number(/^TAR@FAR=(.*)$/.exec(metricName)?.[1] ?? first.evaluation.operatingPoint?.far ?? USUAL_FAR);
  const by = { metricName, far };
  const qualityOf = (at: EvaluationAt, query: string, gallery: string): Quality =>
    readQuality(at, testOf(at, query, gallery), by);
  const crosses = ({ evaluation: { tests } }: EvaluationAt, query: string): boolean =>
    tests.some((test) => test.query === query && test.gallery === old.name);
  const models = new Map<string, ModelEvidence>();
  for (const at of evaluations)
    for (const { name, digest, dim, adapter, role } of at.evaluation.models.filter((one) => one.role !== 'old')) {
      const own = qualityOf(at, name, name);
      const onOld = role !== 'oracle' && crosses(at, name) ? qualityOf(at, name, old.name) : null;
      const model = {
        name,
        digest: digest ?? null,
        dim,
        adapter: adapter ?? null,
        own,
        onOld,
        dropIn: gradeOf(at, name),
        withheld: withheldReason(at, name),
      };
      const known = models.get(name);
      if (known && !isDeepStrictEqual(known, model))
        throw new UserError(`${at.path} and another evaluation have different models called ${name}`, {
          hint: 'evaluate all models together, or give each a name of its own',
        });
      models.set(name, model);
    }
  if (models.size === 0) throw new UserError(`${first.path} judges no new model`);
  const { dataset, protocol } = first.evaluation;
  return {
    metric: metricName,
    chance: metric.verdict!.chance(protocol.galleries),
    far,
    data: { ...dataset, identities: countIdentities(first.evaluation) },
    old: { name: old.name, dim: old.dim, quality: qualityOf(first, old.name, old.name) },
    models: [...models.values()],
  };
}

/** Metrics that a plan can judge by. */
export const planMetrics: readonly string[] = metrics.filter(({ verdict: judged }) => judged).map(({ name }) => name);

function oldOf({ path, evaluation: { models } }: EvaluationAt): Evaluation['models'][number] {
  const old = models.find(({ role }) => role === 'old');
  if (!old)
    throw new UserError(`${path} has no old model to compare with`, {
      hint: 'evaluate the new models together with the old one',
    });
  return old;
}

const testOf = ({ path, evaluation }: EvaluationAt, query: string, gallery: string): TestResult => {
  const found = evaluation.tests.find((test) => test.query === query && test.gallery === gallery);
  if (!found) throw new UserError(`${path} has no test of ${query} → ${gallery}`, { hint: AGAIN });
  return found;
};

const AGAIN = 'make the evaluation again with: mixbct evaluate';

/** What a protocol draws. Its identities follow from that, and older evaluations do not tell them. */
const drawn = ({ identities: _, ...rest }: Evaluation['protocol']) => rest;

/** @throws UserError if two evaluations differ in set, protocol or old model. */
function requireSameProtocol(first: EvaluationAt, other: EvaluationAt, oldTest: TestResult): void {
  const { dataset, protocol } = first.evaluation;
  const theirs = other.evaluation;
  const old = oldOf(other);
  const what =
    dataset.digest !== theirs.dataset.digest
      ? 'judge different data'
      : !isDeepStrictEqual(drawn(protocol), drawn(theirs.protocol))
        ? 'draw different pairs, probes or resamples'
        : !isDeepStrictEqual(oldTest.judged, testOf(other, old.name, old.name).judged) || old.name !== oldTest.query
          ? 'have different old models'
          : null;
  if (what)
    throw new UserError(`${first.path} and ${other.path} ${what}, so their numbers cannot stand side by side`, {
      hint: 'evaluate all models together',
    });
}

function readQuality(
  { path, evaluation }: EvaluationAt,
  { query, gallery, judged, verification, operatingPoint }: TestResult,
  { metricName, far }: { readonly metricName: string; readonly far: number },
): Quality {
  if (!judged)
    throw new UserError(`${path} was made by an earlier version: it lacks the intervals that a plan needs`, {
      hint: AGAIN,
    });
  const found = judged.find(({ metric }) => metric === metricName);
  if (!found)
    throw new UserError(`${path} does not judge by ${metricName}`, {
      hint: `choose among those it has: ${judged.map(({ metric }) => metric).join(', ')}`,
    });
  const { value, overOld } = found;
  for (const number of [...Object.values(value), ...Object.values(overOld)])
    if (!Number.isFinite(number))
      throw new UserError(`${path}: ${metricName} of ${query} → ${gallery} has no interval`, {
        hint: `evaluate on more identities than these ${evaluation.dataset.classes}`,
      });
  const ofCurve = verification?.tar.find((entry) => entry.far === far)?.threshold;
  const kept = evaluation.operatingPoint?.far === far ? operatingPoint?.keepingFar.threshold.value : undefined;
  const there = operatingPoint?.atOldThreshold;
  const atOldThreshold = there ? { tar: there.tar.value, far: there.far.value } : null;
  return {
    value,
    overOld,
    threshold: ofCurve ?? kept ?? null,
    atOldThreshold,
    behind: judged.filter((one) => one.overOld.high < 0 && one !== found),
  };
}

/** The grade of a model's queries on the old gallery. */
function gradeOf({ evaluation }: EvaluationAt, name: string): PlanOption['dropIn'] {
  const grade = evaluation.candidates.find((candidate) => candidate.name === name)?.dropIn?.grade;
  return grade === undefined || grade === 'withheld' ? null : grade;
}

/** Why nothing can be concluded about a model, as reports say it; the oracle is held to what candidates are. */
function withheldReason({ evaluation }: EvaluationAt, name: string): string | null {
  const trial = evaluation.candidates.some(({ withheld }) => withheld?.reason === 'trial');
  const [judged] = withholdVerdicts({ ...evaluation, candidates: [{ name, comparisons: [] }] }, { trial }).candidates;
  return judged!.withheld ? verdict(evaluation, judged!) : null;
}
