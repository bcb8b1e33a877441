import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { outputWriter } from '../artifacts/output-lock.ts';
import { isMapping } from '../base/shape.ts';
import { type StageRecord, StageRecords } from '../experiment/records.ts';

/** A stage of an experiment as the page shows it. */
export type StageData = {
  readonly id: string;
  readonly kind: string;
  readonly summary: string;
  readonly state: 'done' | 'running' | 'interrupted' | 'stale' | 'to come' | 'damaged';
};

/** The stages of an experiment, from the records in its folder. */
export class WatchedExperiment {
  readonly path: string;
  readonly #records: StageRecords;

  constructor(path: string) {
    this.path = path;
    this.#records = new StageRecords(path);
  }

  /** Title and stages as they stand now: in the order of the latest run, or else by name. */
  read(): { readonly title: string | null; readonly stages: readonly StageData[] } {
    const plan = this.#plan();
    const begun = this.#records.ids();
    const known = new Map(plan?.stages.map((stage) => [stage.id, stage]));
    const ids = [...known.keys(), ...begun.filter((id) => !known.has(id))];
    const isRun = outputWriter(this.path) !== null;
    // stages run one after the other: of those that are not made, the first that was begun is being made
    let running = isRun;
    const stages = ids.map((id) => {
      const record = this.#record(id);
      const state = record === 'damaged' ? 'damaged' : stateOf(record, running);
      if (state === 'running') running = false;
      return { id, kind: known.get(id)?.kind ?? this.#kindOf(id), summary: known.get(id)?.summary ?? '', state };
    });
    return { title: plan?.title ?? null, stages };
  }

  /** Folders of stages, by id; links are none. */
  folders(): readonly (readonly [id: string, path: string])[] {
    return this.read().stages.flatMap(({ id }) => {
      const path = join(this.path, id);
      return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ? [[id, path] as const] : [];
    });
  }

  #plan() {
    try {
      return this.#records.readPlan();
    } catch {
      return null;
    }
  }

  #record(id: string): StageRecord | null | 'damaged' {
    try {
      return this.#records.read(id);
    } catch {
      return 'damaged';
    }
  }

  #kindOf(id: string): string {
    try {
      const stage = this.#records.settingsOf(id)?.['stage'];
      return isMapping(stage) && typeof stage['do'] === 'string' ? stage['do'] : '';
    } catch {
      return '';
    }
  }
}

function stateOf(record: StageRecord | null, mayRun: boolean): StageData['state'] {
  if (!record) return 'to come';
  if (record.made) return 'done';
  if (record.inputs === '') return 'stale';
  return mayRun ? 'running' : 'interrupted';
}
