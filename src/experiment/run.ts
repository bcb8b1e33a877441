import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { MANIFEST } from '../artifacts/manifest.ts';
import { requireOwnPlace } from '../artifacts/output-claim.ts';
import { lockOutput, type OutputLock } from '../artifacts/output-lock.ts';
import { Interrupted, UserError } from '../base/errors.ts';
import { currentReporter, logLine } from '../base/progress.ts';
import { version } from '../base/version.ts';
import { type Experiment, kindOf, referencesOf, stageOf, stagesToRun } from './load.ts';
import type { RunPlan, StageRecord } from './records.ts';
import type { Stage, StageContext } from './stage.ts';
import { type StageState, StageStates, type StatesOptions } from './states.ts';

export type RunOptions = StatesOptions &
  Pick<StageContext, 'workers' | 'signal'> & {
    /** Run no more than what these stages need. */
    readonly only?: readonly string[];
  };

/**
 * Runs the stages in order; finished stages are skipped, interrupted ones continue. One process at a time does that in a
 * folder; where all is done nothing is written.
 * @returns the place of each stage's outputs
 * @throws UserError if another process runs them, or a stage was made with other settings or inputs and `force` is not set;
 * Interrupted if the signal has fired.
 */
export async function runStages(experiment: Experiment, options: RunOptions): Promise<ReadonlyMap<string, string>> {
  const entries = stagesToRun(experiment, options.only);
  requireOwnPlace(join(options.out, MANIFEST)); // nothing is made inside an artefact
  const runner = new StageRunner(experiment, options);
  const { states } = runner;
  let lock: OutputLock | null = null;
  try {
    for (const [i, [id, stage]] of entries.entries()) {
      const news = `[${i + 1}/${entries.length}] ${id}`;
      let state = states.stateOf(id, stage);
      if (!state.done) {
        runner.requireSame(id, state);
        // From here on no other process makes a stage. It may have made this one meanwhile.
        if (!lock) {
          lock = lockOutput(options.out);
          states.records.writePlan(runPlan(experiment, entries));
        }
        state = states.stateOf(id, stage);
      }
      if (state.done) {
        const { mixbct: by, made } = state.known!;
        logLine(`${news}: done already${by === version ? '' : ` by mixbct ${by}`}`);
        states.adopt(id, stage, made!);
        continue;
      }
      if (options.signal.aborted) throw new Interrupted(`stopped before stage ${id}; the stages before it are done`);
      await runner.make(id, stage, news);
    }
  } finally {
    lock?.[Symbol.dispose]();
  }
  return states.places;
}

const runPlan = (experiment: Experiment, entries: ReturnType<typeof stagesToRun>): RunPlan => ({
  title: experiment.title,
  stages: entries.map(([id, stage]) => {
    const { kind, describe } = kindOf(experiment, stage);
    return { id, kind, summary: describe(stage) };
  }),
});

class StageRunner {
  readonly #experiment: Experiment;
  readonly #options: RunOptions;
  readonly states: StageStates;

  constructor(experiment: Experiment, options: RunOptions) {
    this.#experiment = experiment;
    this.#options = options;
    this.states = new StageStates(experiment, options);
  }

  /** @throws UserError if a stage was begun or made otherwise than it would be now, and that is not to be replaced. */
  requireSame(id: string, { known, isSame, inputs }: StageState): void {
    if (!known || known.inputs === '' || isSame || inputs === null || this.#options.force) return;
    throw new UserError(
      `${join(this.#options.out, id)}: stage ${id} was ${known.made ? 'made' : 'begun'} with different options or inputs`,
      { hint: 'choose another --out, or pass --force to make it and what follows again' },
    );
  }

  async make(id: string, stage: Stage, news: string): Promise<void> {
    const { out, force } = this.#options;
    const { records, nameOf } = this.states;
    for (const reference of referencesOf(this.#experiment, stage)) await this.#makeAbsent(nameOf(reference));
    const state = this.states.stateOf(id, stage);
    const { known, isSame, inputs, of } = state;
    this.requireSame(id, state);
    if (known && known.inputs !== '' && !isSame) records.mark(this.#dependents(id));
    logLine(`${news}: ${kindOf(this.#experiment, stage).describe(stage)}`);
    const record = { mixbct: version, inputs: inputs!, of };
    const replace = force || known !== null;
    // What stands there without a record may be somebody else's until the stage has gone on with it.
    if (replace || !existsSync(join(out, id)))
      records.write(id, { ...record, made: null }, this.states.settingsOf(stage, of));
    await this.#run(id, stage, { record, force: replace, resume: isSame || (known === null && !force) });
  }

  async #run(
    id: string,
    stage: Stage,
    how: { readonly record: Omit<StageRecord, 'made'>; readonly force: boolean; readonly resume: boolean },
  ): Promise<void> {
    const { out, dataFolder, workers, signal, force: restart } = this.#options;
    const { record, force, resume } = how;
    const { title, seed } = this.#experiment;
    const { states } = this;
    const shared = { dataFolder, workers, signal, restart, reporter: currentReporter() };
    let made: Readonly<Record<string, string>>;
    try {
      const context = { ...shared, id, title, seed, out: join(out, id), force, resume };
      made = await kindOf(this.#experiment, stage).run(stage, states.placeOf, context);
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) throw error;
      throw new Interrupted(`stopped in stage ${id}; the stages before it are done`);
    }
    states.records.write(id, { ...record, made }, states.settingsOf(stage, record.of));
    for (const [name, place] of Object.entries(made)) states.places.set(name, place);
  }

  async #makeAbsent(id: string): Promise<void> {
    const { absent, placeOf, records } = this.states;
    const stage = absent.get(id);
    if (!stage) return;
    logLine(`${id}: ${placeOf(id)} is no longer there`);
    await this.#run(id, stage, { record: records.read(id)!, force: false, resume: true });
    absent.delete(id);
  }

  /** All stages that use what a stage makes, directly or not. */
  #dependents(id: string): ReadonlySet<string> {
    const found = new Set([id]);
    for (const [other, stage] of Object.entries(this.#experiment.stages)) {
      const used = referencesOf(this.#experiment, stage).map((reference) => stageOf(this.#experiment, reference));
      if (used.some((one) => one !== undefined && found.has(one))) found.add(other);
    }
    return found;
  }
}
