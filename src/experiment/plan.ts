import { formatCount } from '../base/progress.ts';
import { version } from '../base/version.ts';
import { type Experiment, kindOf, referencesOf, stageOf, stagesToRun } from './load.ts';
import type { Stage } from './stage.ts';
import { type StageState, StageStates, type StatesOptions } from './states.ts';

/** What a run would do with a stage, and why. */
export type PlannedStage = {
  readonly id: string;
  readonly kind: string;
  /** What the stage does, in a line. */
  readonly summary: string;
  /** Done stages are skipped; all others run. */
  readonly state: 'done' | 'new' | 'interrupted' | 'stale';
  readonly reasons: readonly string[];
  /** The run refuses to make it again without `force`. */
  readonly needsForce: boolean;
};

/** Plans a run of an experiment, reading only. @throws UserError if there is no such stage, or an input from outside. */
export function planStages(
  experiment: Experiment,
  { only, ...options }: StatesOptions & { readonly only?: readonly string[] },
): PlannedStage[] {
  const states = new StageStates(experiment, options);
  const planned = new Map<string, PlannedStage & Verdict>();
  for (const [id, stage] of stagesToRun(experiment, only)) {
    const kind = kindOf(experiment, stage);
    const about = { id, kind: kind.kind, summary: kind.describe(stage), needsForce: false };
    const before = referencesOf(experiment, stage).flatMap(
      (reference) => planned.get(stageOf(experiment, reference) ?? '') ?? [],
    );
    const pending = [...new Set(before.filter(({ state }) => state !== 'done'))];
    const { force } = options;
    planned.set(id, {
      ...about,
      ...(pending.length > 0 ? following(states, id, { pending, force }) : onItsOwn(states, id, stage, force)),
    });
  }
  return [...planned.values()].map(({ isReplaced: _, ...stage }) => stage);
}

/** A plan as text, a line for each stage. */
export function formatPlan(plan: readonly PlannedStage[]): string {
  const width = Math.max(0, ...plan.map(({ id }) => id.length));
  const lines = plan.map(({ id, state, summary, reasons, needsForce }) => {
    const why = [...(state === 'done' ? [] : [summary]), ...reasons, ...(needsForce ? ['needs --force'] : [])];
    return `${id.padEnd(width)}  ${state.padEnd(11)}  ${why.join('; ')}`.trimEnd();
  });
  const due = plan.filter(({ state }) => state !== 'done').length;
  return [...lines, `${due} of ${formatCount(plan.length, 'stage')} would run`].join('\n');
}

type Verdict = Pick<PlannedStage, 'state' | 'reasons'> & {
  readonly needsForce?: boolean;
  /** All that depends on it is made again as well, whatever comes out. */
  readonly isReplaced?: boolean;
};

/** Of a stage with inputs that the run makes. One that comes out as before changes nothing. */
function following(
  { records }: StageStates,
  id: string,
  { pending, force }: { readonly pending: readonly (PlannedStage & Verdict)[]; readonly force: boolean },
): Verdict {
  const known = records.read(id);
  if (!known) return { state: 'new', reasons: [] };
  const isReplaced = known.inputs === '' || pending.some((one) => one.isReplaced);
  const otherwise = force ? '' : ', otherwise it needs --force';
  const when = isReplaced ? 'made again' : `made first; if that comes out as before, this stage is done${otherwise}`;
  return { state: 'stale', isReplaced, reasons: pending.map((one) => `its input ${one.id} is ${when}`) };
}

/** Of a stage whose inputs are all there. */
function onItsOwn(states: StageStates, id: string, stage: Stage, force: boolean): Verdict {
  const state = states.stateOf(id, stage);
  const { known, done, isSame, inputs } = state;
  if (!known) return { state: 'new', reasons: [] };
  if (done) {
    states.adopt(id, stage, known.made!);
    return { state: 'done', reasons: doneReasons(states, id, state) };
  }
  if (known.inputs === '') return { state: 'stale', reasons: ['a stage before it was made again'], isReplaced: true };
  if (isSame)
    return known.made
      ? { state: 'stale', reasons: ['what it made is no longer there'] }
      : { state: 'interrupted', reasons: ['it continues'] };
  const reasons = states.changesOf(id, stage, state);
  return { state: 'stale', reasons, needsForce: inputs !== null && !force, isReplaced: true };
}

function doneReasons(states: StageStates, id: string, { known }: StageState): string[] {
  const by = known!.mixbct;
  return [
    ...(by === version ? [] : [`by mixbct ${by}`]),
    ...(states.absent.has(id) ? ['its output is no longer there; it is made when a stage needs it'] : []),
  ];
}
