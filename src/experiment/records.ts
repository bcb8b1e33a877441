import { existsSync, readdirSync } from 'node:fs';
import { isAbsolute, join, relative, sep } from 'node:path';
import { z } from 'zod';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { realPath } from '../artifacts/output-claim.ts';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import { isFolder } from '../base/regular-file.ts';
import { recordFiles } from '../data/recordio.ts';

/** Version whose records name no version, and places as seen from the folder that the command was given in. */
export const LEGACY_VERSION = '0.3.0';

/** What an experiment's folder knows of a stage. */
export type StageRecord = {
  /** Version of mixbct that made it. */
  readonly mixbct: string;
  /** Digest of its settings and inputs; empty if it has to be made again whatever they are. */
  readonly inputs: string;
  /** Digest of each input, by the name that the stage has for it. */
  readonly of: Readonly<Record<string, string>>;
  /** Place of each thing that it made; null while it is being made. */
  readonly made: Readonly<Record<string, string>> | null;
};

const texts = z.record(z.string(), z.string());
const recordSchema = z.object({
  mixbct: z.string().optional(),
  inputs: z.string(),
  of: texts.default({}),
  made: texts.nullable(),
});

/** The stages of a run, in their order. */
export type RunPlan = {
  readonly title: string;
  readonly stages: readonly { readonly id: string; readonly kind: string; readonly summary: string }[];
};
const planSchema = z.object({
  title: z.string(),
  stages: z.array(z.object({ id: z.string(), kind: z.string(), summary: z.string() })),
});
/** Name of its file: no stage can be called so. */
const PLAN = '_plan';

/** Whether something stands at a place: a folder, or a record set, whose index is renamed last. */
export const isThere = (place: string): boolean => existsSync(place) || existsSync(recordFiles(place).idx);

/** Whether a finished artefact or record set stands at a place. */
export const isFinished = (place: string): boolean =>
  existsSync(join(place, MANIFEST)) || existsSync(recordFiles(place).idx);

/** Folder of the records inside an experiment's. */
const RECORDS = '.stages';

/**
 * @throws UserError if the folder is not an experiment's: it holds no records, and something that is neither the experiment's
 * file nor named after a stage.
 */
export function requireExperimentFolder(folder: string, file: string, stages: readonly string[]): void {
  if (!isFolder(folder) || existsSync(join(folder, RECORDS))) return;
  const isOurs = (name: string): boolean =>
    stages.some((id) => new RegExp(`^\\.?${id}([._]|$)`).test(name)) || realPath(join(folder, name)) === realPath(file);
  const other = readdirSync(folder).find((name) => !isOurs(name));
  if (other !== undefined)
    throw new UserError(`${folder} is no folder of an experiment: it holds ${other}`, {
      hint: [optionHint('choose another --out'), optionHint('pass --force to write into it all the same')],
    });
}

/** The records of an experiment's stages, `.stages/ID.json` in its folder; in them places are relative to that folder. */
export class StageRecords {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  #path(id: string): string {
    return join(this.#folder, RECORDS, `${id}.json`);
  }

  /** Notes what a run is about to do, in its order, for those who watch it. */
  writePlan(plan: RunPlan): void {
    writeJson(this.#path(PLAN), plan);
  }

  /** What the latest run of the experiment was to do; null if that was not written, as by versions up to 0.3.0. */
  readPlan(): RunPlan | null {
    const path = this.#path(PLAN);
    return existsSync(path) ? (planSchema.safeParse(readJson(path)).data ?? null) : null;
  }

  /** Whether a run of the experiment was begun in the folder. */
  hasAny(): boolean {
    return existsSync(this.#path(PLAN)) || this.ids().length > 0;
  }

  /** Ids of the stages that were begun, sorted. */
  ids(): string[] {
    const folder = join(this.#folder, RECORDS);
    const names = existsSync(folder) ? readdirSync(folder) : [];
    return names.flatMap((name) => /^([a-z][a-z0-9-]*)\.json$/.exec(name)?.[1] ?? []).sort();
  }

  /** @returns null if the stage was never begun. @throws FileError if the record is damaged. */
  read(id: string): StageRecord | null {
    const path = this.#path(id);
    if (!existsSync(path)) return null;
    const { data } = recordSchema.safeParse(readJson(path, AGAIN));
    if (!data) throw new FileError(path, 'is damaged', AGAIN);
    const { mixbct, inputs, of, made } = data;
    const legacy = mixbct === undefined;
    const place = (at: string): string => (legacy ? this.#legacyPlace(id, at) : this.#place(at));
    return { mixbct: mixbct ?? LEGACY_VERSION, inputs, of, made: made && mapped(made, place) };
  }

  /** Writes the record, and if given the settings beside it, from which a plan tells what has changed. */
  write(id: string, record: StageRecord, settings?: Readonly<Record<string, unknown>>): void {
    const { made } = record;
    if (settings) writeJson(this.#path(`${id}.settings`), settings);
    writeJson(this.#path(id), { ...record, made: made && mapped(made, (at) => relative(this.#real(), realPath(at))) });
  }

  /** The settings that a stage was made with; null if they were not written, as by versions up to 0.3.0. */
  settingsOf(id: string): Readonly<Record<string, unknown>> | null {
    const path = this.#path(`${id}.settings`);
    return existsSync(path) ? (z.record(z.string(), z.unknown()).safeParse(readJson(path)).data ?? null) : null;
  }

  /** Notes that stages have to be made again, those that have been made. */
  mark(ids: Iterable<string>): void {
    for (const id of ids) {
      const record = this.read(id);
      if (record) this.write(id, { ...record, inputs: '', made: null });
    }
  }

  #real(): string {
    return realPath(this.#folder);
  }

  #place(at: string): string {
    if (isAbsolute(at)) return at; // of another drive
    const outside = at === '..' || at.startsWith(`..${sep}`);
    return join(outside ? this.#real() : this.#folder, at);
  }

  /** What a stage made lies in the folder named after it, wherever the experiment lies now. Data sets may lie elsewhere. */
  #legacyPlace(id: string, at: string): string {
    const parts = at.split(sep);
    const own = parts.lastIndexOf(id);
    const here = own < 0 ? at : join(this.#folder, ...parts.slice(own));
    return own >= 0 && isThere(here) ? here : at;
  }
}

const AGAIN = 'remove it: the stage is then made again';

const mapped = (texts: Readonly<Record<string, string>>, f: (text: string) => string): Record<string, string> =>
  Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, f(text)]));
