import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { canonicalJson, digestOf, MANIFEST, readJson } from '../artifacts/artifact.ts';
import { requireOwnPlace } from '../artifacts/output-claim.ts';
import { lockOutput, type OutputLock } from '../artifacts/output-lock.ts';
import { Interrupted, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { version } from '../base/version.ts';
import { openDataset } from '../data/index.ts';
import { type Experiment, neededFor, referencesOf, type Stage, targetOf } from './experiment.ts';
import { describe, perform } from './perform-stage.ts';
import { isFinished, isThere, LEGACY_VERSION, type StageRecord, StageRecords } from './stage-records.ts';

export type StageOptions = {
  /** The experiment's folder: a folder for each stage. */
  readonly out: string;
  /** Folder of fetched data sets, which experiments share. */
  readonly dataFolder: string;
  /** Make stages again whose options or inputs have changed. */
  readonly force: boolean;
  readonly workers: number;
  readonly signal: AbortSignal;
  /** Run no more than what these stages need. */
  readonly only?: readonly string[];
};

/** A stage as it stands: whether it is done, or from what it would be made. */
type Standing = {
  readonly known: StageRecord | null;
  readonly done: boolean;
  /** Its record is of the settings and inputs that it has now. */
  readonly isSame: boolean;
  /** Digests of settings and inputs, and of each input; null if an input has to be fetched first. */
  readonly inputs: string | null;
  readonly of: Readonly<Record<string, string>>;
};

/**
 * Runs the stages in order; what is done is skipped, what was interrupted goes on. One process at a time does that in a folder;
 * where all is done nothing is written.
 * @returns the folder of each stage
 * @throws UserError if another process runs them, or a stage was made with other options or inputs and `force` is not set
 */
export async function runStages(experiment: Experiment, options: StageOptions): Promise<ReadonlyMap<string, string>> {
  const needed = options.only?.length ? neededFor(experiment, options.only) : null;
  const entries = Object.entries(experiment.stages).filter(
    ([id]) => !Object.hasOwn(experiment.aliases, id) && (needed?.has(id) ?? true),
  );
  requireOwnPlace(join(options.out, MANIFEST)); // nothing is made inside an artefact
  const stages = new Stages(experiment, options);
  let lock: OutputLock | null = null;
  try {
    for (const [i, [id, stage]] of entries.entries()) {
      const news = `[${i + 1}/${entries.length}] ${id}`;
      let standing = stages.standing(id, stage);
      if (!standing.done) {
        stages.requireSame(id, standing);
        // From here on no other process makes a stage. It may have made this one meanwhile.
        lock ??= lockOutput(options.out);
        standing = stages.standing(id, stage);
      }
      if (standing.done) {
        const by = standing.known!.mixbct;
        logLine(`${news}: done already${by === version ? '' : ` by mixbct ${by}`}`);
        stages.skip(id, stage, standing.known!);
        continue;
      }
      if (options.signal.aborted) throw new Interrupted(`stopped before stage ${id}; the stages before it are done`);
      await stages.make(id, stage, news);
    }
  } finally {
    lock?.[Symbol.dispose]();
  }
  return stages.places;
}

class Stages {
  readonly #experiment: Experiment;
  readonly #options: StageOptions;
  readonly #records: StageRecords;
  /** Where each stage, and each part of one, has put what it made. */
  readonly places = new Map<string, string>();
  /** Data sets that were fetched once and are no longer where they were: fetched again when a stage needs them. */
  readonly #absent = new Map<string, Stage>();

  constructor(experiment: Experiment, options: StageOptions) {
    this.#experiment = experiment;
    this.#options = options;
    this.#records = new StageRecords(options.out);
  }

  #nameOf = (reference: string): string => targetOf(this.#experiment, reference);
  #at = (reference: string): string => this.places.get(this.#nameOf(reference)) ?? this.#nameOf(reference);

  standing(id: string, stage: Stage): Standing {
    const known = this.#records.read(id);
    const of: Record<string, string> = {};
    for (const reference of referencesOf(stage)) {
      const [place, recorded] = [this.#at(reference), known?.of[reference]];
      if (isThere(place) || !(recorded || this.#absent.has(this.#nameOf(reference)))) of[reference] = digestAt(place);
      else if (recorded) of[reference] = recorded;
      else return { known, isSame: false, done: false, inputs: null, of };
    }
    const inputs = this.#digest(stage, of, version);
    const isSame = known !== null && known.inputs !== '' && this.#isSame(known, stage, { inputs, of });
    const made = stage.do === 'get' || Object.values(known?.made ?? {}).every(isFinished);
    return { known, isSame, done: isSame && known.made !== null && made, inputs, of };
  }

  /** Another version's work counts, unless all that has changed is to be made again. */
  #isSame(known: StageRecord, stage: Stage, { inputs, of }: Pick<Standing, 'inputs' | 'of'>): boolean {
    if (known.inputs === inputs) return true;
    if (this.#options.force && known.mixbct !== version) return false;
    return known.inputs === this.#digest(stage, of, known.mixbct) || known.inputs === this.#legacyDigest(stage);
  }

  /** What a stage's result depends on. An input from outside counts by its content, not by how its path is spelled. */
  #digest(stage: Stage, of: Readonly<Record<string, string>>, madeBy: string): string {
    const outside = (value: unknown): boolean =>
      typeof value === 'string' && Object.hasOwn(of, value) && !this.places.has(this.#nameOf(value));
    const { title, seed } = this.#experiment;
    const settings = JSON.parse(JSON.stringify(stage, (_, value: unknown) => (outside(value) ? 'a path' : value)));
    const inputs = referencesOf(stage).map((reference) => of[reference]);
    return digestOf(canonicalJson({ stage: settings, title, seed, version: madeBy, inputs }));
  }

  #legacyDigest(stage: Stage): string | null {
    const places = referencesOf(stage).map(this.#at);
    if (!places.every(isThere)) return null;
    const inputs = places.map((place) => digestAt(place, (_, value) => value));
    const { title, seed } = this.#experiment;
    return digestOf(canonicalJson({ stage, title, seed, version: LEGACY_VERSION, inputs }));
  }

  skip(id: string, stage: Stage, { made }: StageRecord): void {
    for (const [name, recorded] of Object.entries(made!)) {
      const moved = stage.do === 'get' ? join(this.#options.dataFolder, stage.set, basename(recorded)) : recorded;
      const place = !isFinished(recorded) && isFinished(moved) ? moved : recorded;
      this.places.set(name, place);
      if (!isFinished(place)) this.#absent.set(id, stage);
    }
  }

  /** @throws UserError if a stage was begun or made otherwise than it would be now, and that is not to be replaced. */
  requireSame(id: string, { known, isSame, inputs }: Standing): void {
    if (!known || known.inputs === '' || isSame || inputs === null || this.#options.force) return;
    throw new UserError(
      `${join(this.#options.out, id)}: stage ${id} was ${known.made ? 'made' : 'begun'} with other options or inputs`,
      { hint: 'choose another --out, or pass --force to make it and what follows again' },
    );
  }

  async make(id: string, stage: Stage, news: string): Promise<void> {
    const { out, force } = this.#options;
    for (const reference of referencesOf(stage)) await this.#fetchAbsent(this.#nameOf(reference));
    const standing = this.standing(id, stage);
    const { known, isSame, inputs, of } = standing;
    this.requireSame(id, standing);
    if (known && known.inputs !== '' && !isSame) this.#records.mark(this.#dependents(id));
    logLine(`${news}: ${describe(stage)}`);
    const record = { mixbct: version, inputs: inputs!, of };
    const replace = force || known !== null;
    // What stands there without a record may be somebody else's until the stage has gone on with it.
    if (replace || !existsSync(join(out, id))) this.#records.write(id, { ...record, made: null });
    await this.#perform(id, stage, { record, replace, goOn: !force && (known === null || isSame) });
  }

  async #perform(
    id: string,
    stage: Stage,
    how: { readonly record: Omit<StageRecord, 'made'>; readonly replace: boolean; readonly goOn: boolean },
  ): Promise<void> {
    const { record, ...rest } = how;
    const folder = join(this.#options.out, id);
    const context = { ...this.#options, ...rest, experiment: this.#experiment, id, folder, at: this.#at };
    const made = await perform(stage, context);
    this.#records.write(id, { ...record, made });
    for (const [name, place] of Object.entries(made)) this.places.set(name, place);
  }

  async #fetchAbsent(id: string): Promise<void> {
    const stage = this.#absent.get(id);
    if (!stage) return;
    logLine(`${id}: ${this.#at(id)} is no longer there`);
    await this.#perform(id, stage, { record: this.#records.read(id)!, replace: false, goOn: true });
    this.#absent.delete(id);
  }

  /** All stages that use what a stage makes, directly or not. */
  #dependents(id: string): ReadonlySet<string> {
    const found = new Set([id]);
    for (const [other, stage] of Object.entries(this.#experiment.stages))
      if (referencesOf(stage).some((reference) => found.has(this.#nameOf(reference).split('.')[0]!))) found.add(other);
    return found;
  }
}

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
