import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { FileError } from '../base/errors.ts';
import { StageRecords } from '../experiment/records.ts';
import { type StageData, WatchedExperiment } from './watched-experiment.ts';
import { isRun, type RunData, type Seen, WatchedRun } from './watched-run.ts';

/** Stages of one experiment. */
export type ExperimentData = { readonly name: string; readonly stages: readonly StageData[] };

/** What the page gets. */
export type WatchData = {
  readonly title: string;
  readonly experiments: readonly ExperimentData[];
  readonly runs: readonly RunData[];
};

/** Runs that are watched at a time. */
const MOST_RUNS = 50;

/** Runs and experiments that are watched; reads their files, and those only. */
export class Watched {
  readonly #roots: readonly string[];
  readonly #experiments = new Map<string, WatchedExperiment>();
  readonly #runs = new Map<string, WatchedRun>();

  /** Each path: a run, an experiment, or a folder of these. @throws FileError if one is none of them. */
  constructor(paths: readonly string[]) {
    this.#roots = [...new Set(paths.map((path) => resolve(path)))];
    for (const path of this.#roots) requireWatchable(path);
    this.poll();
  }

  /** Looks for new runs and reads what is new of all. */
  poll(): void {
    for (const root of this.#roots) this.#look(root, basename(root), true);
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
    };
  }

  #look(path: string, name: string, intoFolders: boolean): void {
    if (isExperiment(path)) {
      const known = this.#experiments.get(path) ?? new WatchedExperiment(path);
      this.#experiments.set(path, known);
      const prefix = this.#roots.length > 1 || !this.#roots.includes(path) ? `${name}/` : '';
      for (const [id, folder] of known.folders()) if (isRun(folder)) this.#add(folder, `${prefix}${id}`);
    } else if (isRun(path)) this.#add(path, name);
    else if (intoFolders) for (const [child, folder] of foldersIn(path)) this.#look(folder, child, false);
  }

  #add(path: string, name: string): void {
    if (this.#runs.has(path) || this.#runs.size >= MOST_RUNS) return;
    const taken = [...this.#runs.values()].some((run) => run.name === name);
    this.#runs.set(path, new WatchedRun(path, String(this.#runs.size), taken ? path : name));
  }
}

const isExperiment = (path: string): boolean => new StageRecords(path).hasAny();

/** Folders below one, by name; links are none. */
function foldersIn(path: string): [string, string][] {
  try {
    return readdirSync(path)
      .sort()
      .filter((name) => !name.startsWith('.') && lstatSync(join(path, name)).isDirectory())
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
