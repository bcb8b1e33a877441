import { isDeepStrictEqual } from 'node:util';
import type { Estimate } from '../eval/index.ts';
import type { BackfillEvidence } from './backfill-evidence.ts';
import { costsOf, type Gallery } from './costs.ts';
import type { Evidence, ModelEvidence, Quality } from './evidence.ts';
import { hoursText, points } from './format.ts';
import type { Acceptable, PlanOption } from './plan-artifact.ts';

/** What the user asks of a way. Shares of the metric, 0 … 1. */
export type Limits = {
  /** A gain that is not larger does not count. */
  readonly minGain: number;
  /** How far the metric may fall below the old model's on the way. */
  readonly maxLoss: number;
  /** Hours of re-embedding; null: any. */
  readonly maxHours: number | null;
  readonly accept: readonly Acceptable[];
};

/** Every way that the evidence knows of, judged by the limits; keep is first. */
export function judgeOptions(evidence: Evidence, { simulations, gallery, limits }: JudgeOptions): PlanOption[] {
  const { old, models, far } = evidence;
  const thresholds = (start: Quality | null, end: Quality): PlanOption['threshold'] =>
    old.quality.threshold === null || end.threshold === null
      ? null
      : { far, old: old.quality.threshold, start: start?.threshold ?? null, end: end.threshold };
  const judged = (
    way: PlanOption['way'],
    model: ModelEvidence,
    { start, end, worst, reEmbed, order = null, merge = null, movedFor95 = null }: Course,
  ): PlanOption => {
    const { adapter } = model;
    const crosses = way === 'bridge' || (way === 'backfill' && adapter !== null);
    const rewrite = crosses && adapter!.direction === 'gallery';
    const about = {
      way,
      model: model.name,
      adapter: crosses ? { direction: adapter!.direction, method: adapter!.method } : null,
      start: start?.value ?? null,
      end: end.value,
      gain: end.overOld,
      worst,
      dropIn: way === 'deploy' || way === 'bridge' ? model.dropIn : null,
      order,
      merge,
      movedFor95,
      ...costsOf({ reEmbed, rewrite, from: old.dim, to: model.dim }, gallery),
      threshold: thresholds(start, end),
    };
    return { ...about, ...standingOf(about, { evidence, model, start, limits }) };
  };
  return [
    keepOption(evidence, gallery, thresholds(old.quality, old.quality)),
    ...models.flatMap((model, i) => {
      const { adapter, onOld, own } = model;
      // one model through several adapters is one model
      const isKnown = models.slice(0, i).some((earlier) => isDeepStrictEqual(earlier.own, own));
      const reEmbed = { start: null, end: own, worst: UNTIL_CUT_OVER, reEmbed: true };
      const simulation = simulations.find((one) => one.model === model.name);
      // a gallery that an adapter rewrites is swapped when it is complete
      const swapped = adapter?.direction === 'gallery';
      return [
        ...(onOld
          ? [
              judged(adapter ? 'bridge' : 'deploy', model, {
                start: swapped ? null : onOld,
                end: onOld,
                worst: swapped ? UNTIL_CUT_OVER : { moved: null, overOld: onOld.overOld },
                reEmbed: false,
              }),
            ]
          : []),
        ...(onOld && (simulation || !adapter)
          ? [judged('backfill', model, { start: onOld, end: own, worst: null, reEmbed: true, ...simulation })]
          : []),
        ...(isKnown ? [] : [judged('re-embed', model, reEmbed)]),
      ];
    }),
  ];
}

const keepOption = (
  { old: { name, dim, quality } }: Evidence,
  gallery: Gallery,
  threshold: PlanOption['threshold'],
): PlanOption => ({
  ...{ way: 'keep', model: name, adapter: null, standing: 'proven', reasons: [] },
  ...{ start: quality.value, end: quality.value, gain: NOTHING, worst: UNTIL_CUT_OVER },
  ...{ dropIn: null, order: null, merge: null, movedFor95: null, threshold },
  ...costsOf({ reEmbed: false, rewrite: false, from: dim, to: dim }, gallery),
});

type JudgeOptions = {
  readonly simulations: readonly BackfillEvidence[];
  readonly gallery: Gallery;
  readonly limits: Limits;
};

/** What happens on a way. */
type Course = {
  /** On the first day; null: the old model answers until the cut-over. */
  readonly start: Quality | null;
  readonly end: Quality;
  readonly worst: PlanOption['worst'];
  readonly reEmbed: boolean;
  readonly order?: string | null;
  readonly merge?: string | null;
  readonly movedFor95?: number | null;
};

const NOTHING: Estimate = { value: 0, low: 0, high: 0 };
/** The worst point where the old model answers until the cut-over. */
const UNTIL_CUT_OVER = { moved: null, overOld: NOTHING };

type Standing = Pick<PlanOption, 'standing' | 'reasons'>;

type Subject = {
  readonly evidence: Evidence;
  readonly model: ModelEvidence;
  readonly start: Quality | null;
  readonly limits: Limits;
};

/** Whether a way is proven to be better than the old model within the limits, and what speaks against it. */
function standingOf({ gain, worst, hours }: Omit<PlanOption, keyof Standing>, subject: Subject): Standing {
  const { evidence, model, start, limits } = subject;
  const { minGain, maxLoss, maxHours } = limits;
  if (model.withheld !== null) return { standing: 'undecided', reasons: [model.withheld] };
  const better =
    minGain > 0 ? `better than the old model by more than ${points(minGain)}` : 'better than the old model';
  if (gain.high <= minGain) return { standing: 'ruled out', reasons: [`not ${better}`] };
  if (gain.low <= minGain) return { standing: 'undecided', reasons: [`not shown to be ${better}`] };
  const against: string[] = [];
  const open: string[] = [];
  if (evidence.old.quality.value.value + gain.low <= evidence.chance) open.push('not shown to be better than chance');
  // without a simulation the first day is known, and the way is not better than that
  const least = worst?.overOld ?? start!.overOld;
  if (least.high < -maxLoss) against.push('falls behind the old model on the way');
  else if (worst === null) open.push('what happens on the way is not simulated');
  else if (least.low < -maxLoss) open.push('not shown to keep up with the old model on the way');
  if (hours === null) open.push('how long it takes is not known');
  else if (maxHours !== null && hours > maxHours)
    against.push(`takes ${hoursText(hours)}, more than ${hoursText(maxHours)}`);
  if (against.length > 0) return { standing: 'ruled out', reasons: against };
  return { standing: open.length > 0 ? 'undecided' : 'proven', reasons: open };
}
