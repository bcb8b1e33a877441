import { isDeepStrictEqual } from 'node:util';
import type { BackfillCurve, BackfillSimulation } from '../backfill/index.ts';
import { type BackfillEnds, type BackfillOrderName, needsOfOrder } from '../backfill/simulation.ts';
import { UserError } from '../base/errors.ts';
import type { Estimate } from '../eval/index.ts';
import type { Evidence, ModelEvidence } from './evidence.ts';

/** A simulation of a backfill, and the folder that it was read from, for messages. */
export type SimulationAt = {
  readonly path: string;
  readonly simulation: BackfillSimulation;
  /** Digest of the new model; null: unknown. */
  readonly model: string | null;
  /** Digest of the adapter that queries and unmoved rows meet through; null: there is none. */
  readonly adapter: string | null;
};

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
 * What simulations say of the models of an evaluation, by the order that does best over all simulations of a model: of those whose
 * worst point keeps to the accepted loss the one with the largest area, or else that with the best worst point.
 * @throws UserError if a simulation is of other data, draws or models, or has no curve of the metric by an order that can be followed,
 * or if two of one model cannot be compared.
 */
export function backfillEvidence(
  simulations: readonly SimulationAt[],
  evidence: Evidence,
  maxLoss: number,
): BackfillEvidence[] {
  const found = simulations.map((at) => readSimulation(at, evidence));
  return evidence.models.flatMap((model) => {
    const [first, ...others] = found.filter((one) => one.model === model);
    if (!first) return [];
    for (const other of others) requireComparable(first.at, other.at, model.name);
    const least = first.oldOld - maxLoss;
    const { order, merge, worst, reaches } = [first, ...others]
      .flatMap(({ curves }) => curves)
      .reduce((a, b) => (isBetter(b, a, least) ? b : a));
    return [
      {
        model: model.name,
        order,
        merge,
        worst: { moved: worst.share, overOld: overOld(worst, model) },
        movedFor95: reaches.most,
      },
    ];
  });
}

/** The model that was simulated, old → old, and the curves by orders that can be followed. */
function readSimulation(at: SimulationAt, evidence: Evidence) {
  const { path, simulation } = at;
  const { dataset, ends, curves } = simulation;
  const { metric, data } = evidence;
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
  return { at, model: simulatedModel(at, end, evidence), oldOld: end.oldOld, curves: usable };
}

/**
 * The model of the evaluation that has the three values of a simulation, its adapter, and its digest where both are known.
 * @throws UserError if there is none, or more than one.
 */
function simulatedModel(
  { path, model, adapter }: SimulationAt,
  { oldOld, newOld, newNew }: BackfillEnds,
  { metric, old, models }: Evidence,
): ModelEvidence {
  const before = old.quality.value.value;
  const alike = models.filter(
    ({ own, onOld }) =>
      near(oldOld, before) && onOld !== null && near(onOld.value.value, newOld) && near(own.value.value, newNew),
  );
  const [found, ...others] = alike.filter(
    (one) =>
      (one.adapter?.digest ?? null) === adapter && (one.digest === null || model === null || one.digest === model),
  );
  const names = (some: readonly ModelEvidence[]): string => some.map(({ name }) => name).join(', ');
  if (!found)
    throw new UserError(
      `${path} simulates other models or draws than the evaluation judges: ${
        alike.length > 0
          ? `${names(alike)} has its values by ${metric}, but is another model or goes through another adapter`
          : `by ${metric} its old → old is ${oldOld}, that of the evaluation ${before}`
      }`,
      { hint: 'evaluate and simulate with the same feature sets, adapter and seed' },
    );
  if (others.length > 0)
    throw new UserError(
      `${path} may simulate any of ${names([found, ...others])}: they have the same values by ${metric}`,
      { hint: 'evaluate each model once, or judge by another metric' },
    );
  return found;
}

/** @throws UserError if two simulations of one model draw or divide the move otherwise, so that their curves do not stand side by side. */
function requireComparable(first: SimulationAt, other: SimulationAt, model: string): void {
  const drawn = ({ simulation }: SimulationAt) => {
    const { draws: _, ...protocol } = simulation.protocol;
    return { protocol, shares: simulation.shares };
  };
  if (isDeepStrictEqual(drawn(first), drawn(other))) return;
  throw new UserError(
    `${first.path} and ${other.path} simulate ${model} with different draws or steps, so their orders cannot be compared`,
    { hint: 'simulate both with the same seed, steps and numbers of pairs and probes, or plan with one of them' },
  );
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
