import { basename, join } from 'node:path';
import { canonicalJson, digestOf } from '../artifacts/digest.ts';
import { differencesOf, leavesOf } from '../base/differences.ts';
import { version } from '../base/version.ts';
import { digestAt, digestOfNamedFile, withoutDescription } from './input-digest.ts';
import { type Experiment, kindOf, referencesOf, stageOf, targetOf } from './load.ts';
import { isFinished, isThere, LEGACY_VERSION, type StageRecord, StageRecords } from './records.ts';
import { type Stage, type StageContext, withStrings } from './stage.ts';

/** A stage as it stands: whether it is done, or from what it would be made. */
export type StageState = {
  readonly known: StageRecord | null;
  readonly done: boolean;
  /** Its record is of the settings and inputs that it has now. */
  readonly isSame: boolean;
  /** Digests of settings and inputs, and of each input and named file; null if an input has to be fetched first. */
  readonly inputs: string | null;
  readonly of: Readonly<Record<string, string>>;
};

export type StatesOptions = Pick<StageContext, 'dataFolder'> & {
  /** The experiment's folder: a folder for each stage. */
  readonly out: string;
  /** Make stages again whose settings or inputs have changed. */
  readonly force: boolean;
};

type Digests = StageState['of'];

/** What is compared of a stage: its settings, and the digests of its inputs in their order. */
type Compared = { readonly settings: Readonly<Record<string, unknown>>; readonly inputs: readonly string[] };

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
    Object.assign(of, this.#filesOf(stage, known));
    const inputs = digestOfStage(this.#compared(stage, of), version);
    const isSame = known !== null && known.inputs !== '' && this.#isSame(known, { id, stage, inputs, of });
    const made = this.#isShared(stage) || Object.values(known?.made ?? {}).every(isFinished);
    return { known, isSame, done: isSame && known.made !== null && made, inputs, of };
  }

  /**
   * Digests of what a stage takes from outside, by the names that it has for it; of what is gone, those of its record.
   * @throws FileError if an input is not there, and was not
   */
  outsideOf(id: string, stage: Stage): Digests {
    const known = this.records.read(id);
    const references = referencesOf(this.#experiment, stage).filter((one) => stageOf(this.#experiment, one) === undefined); // biome-ignore format: short
    const digest = (reference: string): string => {
      const [place, recorded] = [this.placeOf(reference), known?.of[reference]];
      return recorded === undefined || isThere(place) ? digestAt(place) : recorded;
    };
    return {
      ...Object.fromEntries(references.map((reference) => [reference, digest(reference)])),
      ...this.#filesOf(stage, known),
    };
  }

  /** Digests of the files and artefacts that a stage's settings name. */
  #filesOf(stage: Stage, known: StageRecord | null): Digests {
    const of: Record<string, string> = {};
    for (const [setting, path] of Object.entries(kindOf(this.#experiment, stage).files(stage))) {
      const name = fileName(setting, path);
      const digest = digestOfNamedFile(path) ?? known?.of[name];
      if (digest !== undefined) of[name] = digest;
    }
    return of;
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

  /** What a stage's result depends on, beside inputs of other stages. One from outside counts by its content, not by its path. */
  settingsOf(stage: Stage, of: Digests): Compared['settings'] {
    const files = kindOf(this.#experiment, stage).files(stage);
    return this.#settings(stage, (text, at) => {
      if (Object.hasOwn(files, at)) return of[fileName(at, text)] ?? text;
      return this.#isOutside(text, of) ? of[text]! : text;
    });
  }

  /** In words, what has changed since a stage was made, as far as its records tell. */
  changesOf(id: string, stage: Stage, { known, of }: StageState): string[] {
    if (!known) return [];
    const recorded = this.records.settingsOf(id);
    const before = recorded && !this.#isTitled(stage) ? without(recorded, 'title') : recorded;
    const inputs = Object.keys(of)
      .filter((name) => ![of[name], withoutDescription(of[name]!), undefined].includes(known.of[name]))
      .map((name) => `its input ${name} has changed`);
    const settings = before ? this.#changedSettings(before, stage, { of, inputsDiffer: inputs.length > 0 }) : [];
    if (settings.length + inputs.length > 0) return [...settings, ...inputs];
    if (before && known.mixbct !== version) return [`made by mixbct ${known.mixbct}`];
    const inputsAreSame = Object.keys(of).every((reference) => known.of[reference] !== undefined);
    return [`its settings ${inputsAreSame ? '' : 'or inputs '}have changed; its record does not tell which`];
  }

  /** What a setting names from outside is told by its name, unless the input itself is told. */
  #changedSettings(
    before: Compared['settings'],
    stage: Stage,
    { of, inputsDiffer }: { readonly of: Digests; readonly inputsDiffer: boolean },
  ): string[] {
    const former = settingLeaves(this.#formerSettings(stage, of));
    const named = settingLeaves(this.#settings(stage, (text) => text));
    const files = kindOf(this.#experiment, stage).files(stage);
    return differencesOf(settingLeaves(before), settingLeaves(this.settingsOf(stage, of)))
      .filter(({ what, a }) => a !== former[what])
      .flatMap(({ what, a, b }) => {
        const name = named[what] ?? null;
        const isOutside = b !== name || Object.hasOwn(files, what);
        if (!isOutside || a === null) return `${what} was ${shown(a)}, is ${shown(name)}`;
        return inputsDiffer ? [] : `${what} (${name}) is not what it was`;
      });
  }

  #settings(stage: Stage, change: (text: string, at: string) => string): Compared['settings'] {
    const settings = JSON.parse(JSON.stringify(withStrings(stage, change)));
    return { stage: settings, seed: this.#experiment.seed, ...(this.#isTitled(stage) && this.#title) };
  }

  /** As they were recorded before inputs from outside stood in them by their content, and files that settings name at all. */
  #formerSettings(stage: Stage, of: Digests): Compared['settings'] {
    return this.#settings(stage, (text) => (this.#isOutside(text, of) ? 'a path' : text));
  }

  #isOutside = (text: string, of: Digests): boolean => Object.hasOwn(of, text) && !this.places.has(this.nameOf(text));

  #inputs = (stage: Stage, of: Digests): string[] =>
    referencesOf(this.#experiment, stage).map((reference) => of[reference]!);

  #compared(stage: Stage, of: Digests): Compared {
    return { settings: this.settingsOf(stage, of), inputs: this.#inputs(stage, of) };
  }

  #formerCompared(stage: Stage, of: Digests): Compared {
    return { settings: this.#formerSettings(stage, of), inputs: this.#inputs(stage, of).map(withoutDescription) };
  }

  #isShared = (stage: Stage): boolean => kindOf(this.#experiment, stage).sharedFolder !== undefined;

  /** Another version's work counts, unless all that has changed is to be made again. */
  #isSame(
    known: StageRecord,
    { id, stage, inputs, of }: Pick<StageState, 'inputs' | 'of'> & { readonly id: string; readonly stage: Stage },
  ): boolean {
    if (known.inputs === inputs) return true;
    if (this.#options.force && known.mixbct !== version) return false;
    const titles = [{}, this.#titleOf(id, stage)];
    return (
      [this.#compared(stage, of), this.#formerCompared(stage, of)].some((form) =>
        titles.some((title) => known.inputs === digestOfStage(form, known.mixbct, title)),
      ) || known.inputs === this.#legacyDigest(stage)
    );
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
    const inputs = places.map((place) => withoutDescription(digestAt(place, (_, value) => value)));
    const { title, seed } = this.#experiment;
    return digestOf(canonicalJson({ stage, title, seed, version: LEGACY_VERSION, inputs }));
  }
}

const digestOfStage = ({ settings, inputs }: Compared, madeBy: string, title: object = {}): string =>
  digestOf(canonicalJson({ ...title, ...settings, version: madeBy, inputs }));

/** A file that a setting names, in a stage's record: its folder may have another name, as seen from elsewhere. */
const fileName = (setting: string, path: string): string => `${setting}=${basename(path)}`;

/** Settings by path, as an experiment file has them: those of the stage itself without a prefix. */
const settingLeaves = ({ stage, ...others }: Readonly<Record<string, unknown>>): Record<string, unknown> => ({
  ...leavesOf('', others),
  ...leavesOf('', stage),
});

const without = (settings: Readonly<Record<string, unknown>>, key: string): Record<string, unknown> =>
  Object.fromEntries(Object.entries(settings).filter(([name]) => name !== key));

const shown = (value: unknown): string => (value === null ? 'not set' : JSON.stringify(value));
