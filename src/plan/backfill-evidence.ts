import type { BackfillCurve, BackfillSimulation } from '../backfill/index.ts';
import { type BackfillOrderName, needsOfOrder } from '../backfill/simulation.ts';
import { UserError } from '../base/errors.ts';
import type { Estimate } from '../eval/index.ts';
import type { Evidence, ModelEvidence } from './evidence.ts';

/** A simulation of a backfill, and the folder that it was read from, for messages. */
export type SimulationAt = { readonly path: string; readonly simulation: BackfillSimulation };

/** What a simulation says of the way, by the metric of the plan. */
export type BackfillEvidence = {
  /** Name of the new model in the evaluation. */
  readonly model: string;
  readonly order: string;
  readonly merge: string;
  /** The worst point: share of the gallery moved there, and the metric less that of the old model. */
  readonly worst: { readonly moved: number; readonly overOld: Estimate };
  /** Share of the gallery after which 95 % of new → new is reached; null: at none. */
  readonly movedFor95: number | null;
};

/** Values of one protocol are equal but for the order of sums. */
const ROUNDING = 1e-9;

/**
 * Finds the model that was simulated by the three values that both have, and the order that does best: of those whose worst point
 * keeps to the accepted loss the one with the largest area, or else that with the best worst point.
 * @throws UserError if the simulation is of other data, draws or models, or has no curve of the metric by an order that can be followed.
 */
export function backfillEvidence(
  { path, simulation: { dataset, ends, curves } }: SimulationAt,
  { metric, data, old, models }: Evidence,
  maxLoss: number,
): BackfillEvidence {
  if (dataset.digest !== data.digest)
    throw new UserError(`${path} simulates with ${dataset.path}, the evaluation judges ${data.path}`, {
      hint: 'evaluate and simulate with the same images',
    });
  const end = ends.find((one) => one.metric === metric);
  const usable = curves.filter((curve) => curve.metric === metric && canBeFollowed(curve.order));
  if (!end || usable.length === 0)
    throw new UserError(`${path} has no curve of ${metric} by an order that can be followed`, {
      hint: `simulate one with this metric, or judge by one of those it has: ${[...new Set(curves.map((curve) => curve.metric))].join(', ')}`,
    });
  const isSimulated = ({ own, onOld }: ModelEvidence): boolean =>
    onOld !== null && near(onOld.value.value, end.newOld) && near(own.value.value, end.newNew);
  const model = near(end.oldOld, old.quality.value.value) ? models.find(isSimulated) : undefined;
  if (!model)
    throw new UserError(
      `${path} simulates other models or draws than the evaluation judges: by ${metric} its old → old is ${end.oldOld}, that of the evaluation ${old.quality.value.value}`,
      { hint: 'evaluate and simulate with the same feature sets and seed' },
    );
  const { order, merge, worst, reaches } = usable.reduce((a, b) => (isBetter(b, a, end.oldOld - maxLoss) ? b : a));
  return {
    model: model.name,
    order,
    merge,
    worst: { moved: worst.share, overOld: overOld(worst, model) },
    movedFor95: reaches.most,
  };
}

const near = (a: number, b: number): boolean => Math.abs(a - b) <= ROUNDING;

/** Whether a real gallery can be moved in an order: some need the new embeddings, or labelled queries. */
const canBeFollowed = (order: BackfillOrderName): boolean =>
  !needsOfOrder[order].some((need) => need === 'new embeddings' || need === 'probes');

function isBetter(one: BackfillCurve, other: BackfillCurve, least: number): boolean {
  const [keeps, otherKeeps] = [one, other].map(({ worst }) => worst.value >= least);
  if (keeps !== otherKeeps) return keeps!;
  return keeps ? one.area > other.area : one.worst.value > other.worst.value;
}

/** The worst point less old → old. At its ends a simulation is a test of the evaluation. */
function overOld({ share, overOld }: BackfillCurve['worst'], { onOld, own }: ModelEvidence): Estimate {
  if (share === 0) return onOld!.overOld;
  return share === 1 ? own.overOld : overOld;
}
