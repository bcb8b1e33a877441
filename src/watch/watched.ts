import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { outputWriter } from '../artifacts/output-lock.ts';
import { FileError } from '../base/errors.ts';
import { entryAt } from '../base/regular-file.ts';
import { StageRecords } from '../experiment/records.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { type StageData, WatchedExperiment } from './watched-experiment.ts';
import { isRun, type RunData, type Seen, WatchedRun } from './watched-run.ts';

/** Stages of one experiment. */
export type ExperimentData = { readonly name: string; readonly stages: readonly StageData[] };

/** What the page gets. */
export type WatchData = {
  readonly title: string;
  readonly experiments: readonly ExperimentData[];
  readonly runs: readonly RunData[];
  /** Runs that are not among them, because there are too many. */
  readonly notShown: number;
};

/** Runs that are watched at a time: running ones first, then those that changed last. */
const MOST_RUNS = 50;

/** Runs and experiments that are watched; reads their files, and those only. */
export class Watched {
  readonly #roots: readonly string[];
  #experiments: ReadonlyMap<string, WatchedExperiment> = new Map();
  readonly #runs = new Map<string, WatchedRun>();
  /** Runs that have been watched so far: the id of the next one. */
  #taken = 0;
  #notShown = 0;

  /** Each path: a run, an experiment, or a folder of these. @throws FileError if one is none of them. */
  constructor(paths: readonly string[]) {
    this.#roots = [...new Set(paths.map((path) => resolve(path)))];
    for (const path of this.#roots) requireWatchable(path);
    this.poll();
  }

  /** Looks for new runs, drops those that are gone, and reads what is new of all. */
  poll(): void {
    const found: Found = { experiments: new Map(), runs: new Map() };
    for (const root of this.#roots) this.#look(found, root, { name: basename(root), intoFolders: true });
    this.#experiments = found.experiments;
    const watched = mostRelevant([...found.runs.keys()]);
    this.#notShown = found.runs.size - watched.size;
    for (const path of this.#runs.keys()) if (!watched.has(path)) this.#runs.delete(path);
    for (const [path, name] of found.runs) if (watched.has(path)) this.#add(path, name);
    for (const run of this.#runs.values()) run.poll();
  }

  data(seen: Readonly<Record<string, Seen>> = {}): WatchData {
    const experiments = [...this.#experiments.values()].map((one) => ({ name: basename(one.path), ...one.read() }));
    const runs = [...this.#runs.values()];
    const titles = experiments.flatMap(({ title }) => title ?? []);
    return {
      title: titles.length > 0 ? titles.join(' · ') : this.#roots.map((root) => basename(root)).join(' · '),
      experiments: experiments.map(({ name, stages }) => ({ name, stages })),
      runs: runs.map((run) => run.data(Object.hasOwn(seen, run.id) ? seen[run.id] : undefined)),
      notShown: this.#notShown,
    };
  }

  #look(found: Found, path: string, { name, intoFolders }: Place): void {
    const add = (folder: string, as: string): void => {
      if (!found.runs.has(folder)) found.runs.set(folder, as);
    };
    if (isExperiment(path)) {
      const known = this.#experiments.get(path) ?? new WatchedExperiment(path);
      found.experiments.set(path, known);
      const prefix = this.#roots.length > 1 || !this.#roots.includes(path) ? `${name}/` : '';
      for (const [id, folder] of known.folders()) if (isRun(folder)) add(folder, `${prefix}${id}`);
    } else if (isRun(path)) add(path, name);
    else if (intoFolders)
      for (const [child, folder] of foldersIn(path)) this.#look(found, folder, { name: child, intoFolders: false });
  }

  #add(path: string, name: string): void {
    if (this.#runs.has(path)) return;
    const isTaken = [...this.#runs.values()].some((run) => run.name === name);
    this.#runs.set(path, new WatchedRun(path, String(this.#taken++), isTaken ? path : name));
  }
}

/** What stands below the roots now: experiments, and the name of each run, by path. */
type Found = { readonly experiments: Map<string, WatchedExperiment>; readonly runs: Map<string, string> };
/** A folder that is looked at: its name on the page, and whether it may be a folder of runs. */
type Place = { readonly name: string; readonly intoFolders: boolean };

/** Of too many runs those that are watched. */
function mostRelevant(paths: readonly string[]): ReadonlySet<string> {
  if (paths.length <= MOST_RUNS) return new Set(paths);
  const ranked = paths
    .map((path) => ({ path, isRunning: Number(outputWriter(path) !== null), changedMs: changedAt(path) }))
    .sort((a, b) => b.isRunning - a.isRunning || b.changedMs - a.changedMs);
  return new Set(ranked.slice(0, MOST_RUNS).map(({ path }) => path));
}

/** When a run last logged something, in ms since 1970; before its first line, when it began. */
const changedAt = (path: string): number => (entryAt(runFiles(path).log) ?? entryAt(path))?.mtimeMs ?? 0;

const isExperiment = (path: string): boolean => new StageRecords(path).hasAny();

/** Folders below one, by name; links are none. */
function foldersIn(path: string): [string, string][] {
  try {
    return readdirSync(path)
      .sort()
      .filter((name) => !name.startsWith('.') && entryAt(join(path, name))?.isDirectory())
      .map((name) => [name, join(path, name)]);
  } catch {
    return []; // of another user, or gone
  }
}

function requireWatchable(path: string): void {
  if (!existsSync(path)) throw new FileError(path, 'no such folder, wanted a run or an experiment', START);
  if (!statSync(path).isDirectory())
    throw new FileError(path, 'is a file, wanted the folder of a run or an experiment');
  const watchable = (one: string): boolean => isExperiment(one) || isRun(one);
  if (watchable(path) || foldersIn(path).some(([, folder]) => watchable(folder))) return;
  throw new FileError(path, 'is neither a run nor an experiment, nor a folder of these', START);
}

const START = 'start one first: mixbct train, or mixbct run';
