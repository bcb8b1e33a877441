import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { canonicalJson, digestOf } from '../artifacts/digest.ts';
import { readJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { differencesOf, leavesOf } from '../base/differences.ts';
import { version } from '../base/version.ts';
import { openDataset } from '../data/open-dataset.ts';
import { type Experiment, kindOf, referencesOf, targetOf } from './load.ts';
import { isFinished, isThere, LEGACY_VERSION, type StageRecord, StageRecords } from './records.ts';
import type { Stage, StageContext } from './stage.ts';

/** A stage as it stands: whether it is done, or from what it would be made. */
export type StageState = {
  readonly known: StageRecord | null;
  readonly done: boolean;
  /** Its record is of the settings and inputs that it has now. */
  readonly isSame: boolean;
  /** Digests of settings and inputs, and of each input; null if an input has to be fetched first. */
  readonly inputs: string | null;
  readonly of: Readonly<Record<string, string>>;
};

export type StatesOptions = Pick<StageContext, 'dataFolder'> & {
  /** The experiment's folder: a folder for each stage. */
  readonly out: string;
  /** Make stages again whose settings or inputs have changed. */
  readonly force: boolean;
};

/** The stages of an experiment as they stand in its folder, of those before which is known where their outputs are. */
export class StageStates {
  readonly #experiment: Experiment;
  readonly #options: StatesOptions;
  readonly records: StageRecords;
  /** Where each stage, and each part of one, has put what it made. */
  readonly places = new Map<string, string>();
  /** Stages whose outputs are no longer where they were shared: made again when a stage needs them. */
  readonly absent = new Map<string, Stage>();

  constructor(experiment: Experiment, options: StatesOptions) {
    this.#experiment = experiment;
    this.#options = options;
    this.records = new StageRecords(options.out);
  }

  /** The stage, part of one, or path that a reference means. */
  readonly nameOf = (reference: string): string => targetOf(this.#experiment, reference);
  /** The place of a stage, or of a part of one, or a path. */
  readonly placeOf = (reference: string): string => this.places.get(this.nameOf(reference)) ?? this.nameOf(reference);

  stateOf(id: string, stage: Stage): StageState {
    const known = this.records.read(id);
    const of: Record<string, string> = {};
    for (const reference of referencesOf(this.#experiment, stage)) {
      const [place, recorded] = [this.placeOf(reference), known?.of[reference]];
      if (isThere(place) || !(recorded || this.absent.has(this.nameOf(reference)))) of[reference] = digestAt(place);
      else if (recorded) of[reference] = recorded;
      else return { known, isSame: false, done: false, inputs: null, of };
    }
    const inputs = this.#digest(stage, of, version);
    const isSame = known !== null && known.inputs !== '' && this.#isSame(known, { id, stage, inputs, of });
    const made = this.#isShared(stage) || Object.values(known?.made ?? {}).every(isFinished);
    return { known, isSame, done: isSame && known.made !== null && made, inputs, of };
  }

  /** Takes the outputs of a stage that is done for what they are. */
  adopt(id: string, stage: Stage, made: NonNullable<StageRecord['made']>): void {
    const shared = kindOf(this.#experiment, stage).sharedFolder?.(stage);
    for (const [name, recorded] of Object.entries(made)) {
      const moved = shared === undefined ? recorded : join(this.#options.dataFolder, shared, basename(recorded));
      const place = !isFinished(recorded) && isFinished(moved) ? moved : recorded;
      this.places.set(name, place);
      if (!isFinished(place)) this.absent.set(id, stage);
    }
  }

  /** What a stage's result depends on, beside its inputs. One from outside counts by its content, not by its path. */
  settingsOf(stage: Stage, of: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> {
    const outside = (value: unknown): boolean =>
      typeof value === 'string' && Object.hasOwn(of, value) && !this.places.has(this.nameOf(value));
    const settings = JSON.parse(JSON.stringify(stage, (_, value: unknown) => (outside(value) ? 'a path' : value)));
    return { stage: settings, seed: this.#experiment.seed, ...(this.#isTitled(stage) && this.#title) };
  }

  /** In words, what has changed since a stage was made, as far as its records tell. */
  changesOf(id: string, stage: Stage, { known, of }: StageState): string[] {
    if (!known) return [];
    const recorded = this.records.settingsOf(id);
    const before = recorded && !this.#isTitled(stage) ? without(recorded, 'title') : recorded;
    const settings = before ? differencesOf(settingLeaves(before), settingLeaves(this.settingsOf(stage, of))) : [];
    const inputs = Object.keys(of).filter(
      (reference) => known.of[reference] !== undefined && known.of[reference] !== of[reference],
    );
    const changes = [
      ...settings.map(({ what, a, b }) => `${what} was ${shown(a)}, is ${shown(b)}`),
      ...inputs.map((reference) => `its input ${reference} has changed`),
    ];
    if (changes.length > 0) return changes;
    if (before && known.mixbct !== version) return [`made by mixbct ${known.mixbct}`];
    const inputsAreSame = Object.keys(of).every((reference) => known.of[reference] !== undefined);
    return [`its settings ${inputsAreSame ? '' : 'or inputs '}have changed; its record does not tell which`];
  }

  #isShared = (stage: Stage): boolean => kindOf(this.#experiment, stage).sharedFolder !== undefined;

  /** Another version's work counts, unless all that has changed is to be made again. */
  #isSame(
    known: StageRecord,
    { id, stage, inputs, of }: Pick<StageState, 'inputs' | 'of'> & { readonly id: string; readonly stage: Stage },
  ): boolean {
    if (known.inputs === inputs) return true;
    if (this.#options.force && known.mixbct !== version) return false;
    return (
      known.inputs === this.#digest(stage, of, known.mixbct) ||
      known.inputs === this.#digest(stage, of, known.mixbct, this.#titleOf(id, stage)) ||
      known.inputs === this.#legacyDigest(stage)
    );
  }

  #digest(stage: Stage, of: Readonly<Record<string, string>>, madeBy: string, title: object = {}): string {
    const inputs = referencesOf(this.#experiment, stage).map((reference) => of[reference]);
    return digestOf(canonicalJson({ ...title, ...this.settingsOf(stage, of), version: madeBy, inputs }));
  }

  /** The title that counted when a stage was made, whatever its kind. */
  #titleOf(id: string, stage: Stage): object {
    const { title } = this.records.settingsOf(id) ?? this.#title;
    return this.#isTitled(stage) ? {} : { title };
  }

  #isTitled = (stage: Stage): boolean => kindOf(this.#experiment, stage).titled;

  get #title(): { title: string } {
    return { title: this.#experiment.title };
  }

  #legacyDigest(stage: Stage): string | null {
    const places = referencesOf(this.#experiment, stage).map(this.placeOf);
    if (!places.every(isThere)) return null;
    const inputs = places.map((place) => digestAt(place, (_, value) => value));
    const { title, seed } = this.#experiment;
    return digestOf(canonicalJson({ stage, title, seed, version: LEGACY_VERSION, inputs }));
  }
}

/** Settings by path, as an experiment file has them: those of the stage itself without a prefix. */
const settingLeaves = ({ stage, ...others }: Readonly<Record<string, unknown>>): Record<string, unknown> => ({
  ...leavesOf('', others),
  ...leavesOf('', stage),
});

const without = (settings: Readonly<Record<string, unknown>>, key: string): Record<string, unknown> =>
  Object.fromEntries(Object.entries(settings).filter(([name]) => name !== key));

const shown = (value: unknown): string => (value === null ? 'not set' : JSON.stringify(value));

/** Fields of manifests that differ between two makings of the same. */
const INCIDENTAL = new Set(['path', 'seconds', 'dataWaitShare']);
const essential = (key: string, value: unknown): unknown => (INCIDENTAL.has(key) ? undefined : value);

/** What a stage's inputs are told apart by: the manifest of an artefact, the content of a data set. */
function digestAt(place: string, kept: (key: string, value: unknown) => unknown = essential): string {
  const manifest = join(place, MANIFEST);
  if (existsSync(manifest)) return digestOf(canonicalJson(JSON.parse(JSON.stringify(readJson(manifest), kept))));
  using dataset = openDataset(place);
  return dataset.digest;
}
