import type { Estimate } from '../eval/index.ts';
import { groupDigits, percent, pointsWithInterval } from '../report/number-format.ts';
import { overlapWarnings } from '../report/verdict.ts';
import { backfillEvidence, type SimulationAt } from './backfill-evidence.ts';
import type { Gallery } from './costs.ts';
import { chooseOption, identitiesToDecide, isAccepted } from './decide.ts';
import { type EvaluationAt, type Evidence, gatherEvidence } from './evidence.ts';
import { judgeOptions, type Limits } from './options.ts';
import { acceptable, type Plan, type PlanOption } from './plan-artifact.ts';
import { optionName, summaryOf, thresholdText, whyOf } from './sentences.ts';

export type MakePlanOptions = {
  readonly evaluations: readonly EvaluationAt[];
  readonly metric: string;
  readonly simulations?: readonly SimulationAt[];
  readonly gallery?: Partial<Gallery>;
  readonly limits?: Partial<Limits>;
};

/**
 * Draws one verdict from measured evidence (docs/plan.md has the rule): evaluations of one old model, what is known of the
 * gallery, and simulations of a backfill.
 * @throws UserError if the evidence does not belong together (`gatherEvidence`, `backfillEvidence`).
 */
export function makePlan({ evaluations, metric, simulations = [], ...given }: MakePlanOptions): Plan {
  const evidence = gatherEvidence(evaluations, metric);
  const gallery: Gallery = { size: null, type: 'float32', imagesPerSecond: null, ...given.gallery };
  const limits: Limits = { minGain: 0, maxLoss: 0, maxHours: null, accept: acceptable, ...given.limits };
  const judged = judgeOptions(evidence, {
    simulations: backfillEvidence(simulations, evidence, limits.maxLoss),
    gallery,
    limits,
  });
  const chosen = chooseOption(judged, limits);
  const options = judged.map((option) => (option === chosen ? { ...option, standing: 'chosen' as const } : option));
  const { path, digest, images, classes, identities } = evidence.data;
  const why = [whyOf(chosen, evidence), thresholdText(chosen)].filter((text) => text !== null).join(' ');
  return {
    kind: 'plan',
    version: 1,
    metric,
    data: { path, digest, images, classes, identities },
    gallery,
    limits: { ...limits, accept: [...limits.accept] },
    verdict: {
      way: chosen.way,
      model: chosen.model,
      accepted: isAccepted(chosen, limits.accept),
      summary: summaryOf(chosen),
      why,
      cautions: cautionsOf(chosen, evidence, evaluations),
      wouldDecide: [...new Set(options.flatMap((option) => decidedBy(option, evidence, limits)))],
    },
    options: options.map((option) => ({ ...option, reasons: [...reasonsOf(option, chosen, limits)] })),
  };
}

/** What speaks against an option, or why a proven one was not chosen. */
function reasonsOf(option: PlanOption, chosen: PlanOption, { accept }: Limits): readonly string[] {
  if (option.standing !== 'proven' || option.way === 'keep') return option.reasons;
  if (!isAccepted(option, accept)) return ['not among the ways to accept'];
  if (chosen.gain.low > option.gain.high) return [`${optionName(chosen)} gains more`];
  return option.gain.low > chosen.gain.high
    ? [`does not gain enough more than ${optionName(chosen)}`]
    : [`not shown to gain more than ${optionName(chosen)}`];
}

/** What the verdict does not say by its metric, but a user should know. */
function cautionsOf(
  chosen: PlanOption,
  { models, old, metric }: Evidence,
  evaluations: readonly EvaluationAt[],
): string[] {
  const model = models.find(({ name }) => name === chosen.model);
  if (!model) return [];
  const quality = chosen.way === 'deploy' || chosen.way === 'bridge' ? model.onOld! : model.own;
  const [there, before] = [quality.atOldThreshold, old.quality.atOldThreshold];
  return [
    ...(chosen.dropIn !== 'drop-in' && there && before
      ? [
          `change the threshold with the model: at the old one TAR is ${percent(there.tar)} instead of ${percent(before.tar)} and FAR ${percent(there.far)} instead of ${percent(before.far)}`,
        ]
      : []),
    ...quality.behind.map(
      (one) =>
        `by ${one.metric} it falls behind the old model: ${pointsWithInterval(one.overOld)} (judged by ${metric})`,
    ),
    ...new Set(evaluations.flatMap(({ evaluation }) => overlapWarnings(evaluation, chosen.model))),
  ];
}

/** What would decide an option that is undecided. */
function decidedBy(
  { standing, way, model, gain, worst, hours }: PlanOption,
  { models, old, chance, data: { identities } }: Evidence,
  { minGain, maxLoss }: Limits,
): string[] {
  if (standing !== 'undecided') return [];
  if (models.some(({ name, withheld }) => name === model && withheld !== null))
    return [`${model}: an evaluation with a verdict, on images of enough identities that no model has seen`];
  const test = `${model} → ${way === 'deploy' || way === 'bridge' ? old.name : model}`;
  const enough = (measured: Estimate, bound: number): string => identitiesText(measured, bound, identities);
  if (gain.low <= minGain) return [`${test}: ${enough(gain, minGain)}, if its gain stays as measured`];
  const before = old.quality.value.value;
  return [
    ...(before + gain.low <= chance
      ? [`${test}, above chance: ${enough(gain, chance - before)}, if its gain stays as measured`]
      : []),
    ...(worst === null ? [`backfill ${model}: a simulation (mixbct backfill simulate)`] : []),
    ...(worst !== null && worst.overOld.low < -maxLoss
      ? [`backfill ${model}: ${enough(worst.overOld, -maxLoss)}, if its worst point stays as measured`]
      : []),
    ...(hours === null
      ? ['to embed again: the size of the gallery, and how many images are embedded in a second']
      : []),
  ];
}

/** How many identities would show that a difference is above `bound`. */
function identitiesText(measured: Estimate, bound: number, identities: number): string {
  const wanted = identitiesToDecide(measured, bound, identities);
  return wanted === null
    ? 'no number of identities'
    : `about ${groupDigits(wanted)} identities instead of ${groupDigits(identities)}`;
}
