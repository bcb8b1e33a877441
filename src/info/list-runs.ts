import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { readJson } from '../artifacts/json-file.ts';
import { MANIFEST, manifestAt } from '../artifacts/manifest.ts';
import { FileError } from '../base/errors.ts';
import { mappingOf } from '../base/shape.ts';
import { EVALUATION_FILE, readEvaluation } from '../eval/evaluation-artifact.ts';
import type { Evaluation } from '../eval/index.ts';
import { textTable } from '../report/terminal.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { type RunLog, readLinesAndEvents } from '../runs/run-log.ts';
import { isRun, runState } from '../watch/watched-run.ts';

/** A run or an evaluation in a folder. */
export type ListedRun = {
  readonly path: string;
  readonly kind: 'run' | 'evaluation';
  readonly state: string;
  readonly method: string | null;
  /** Name of the data set, if it is known. */
  readonly data: string | null;
  /** Of a run: what evaluations in the folder say of it, else its last loss. Of an evaluation: what it says of each new model. */
  readonly metrics: readonly ListedMetric[];
  /** When it last changed, as ISO 8601. */
  readonly changed: string;
};

/** A metric in percent with its criterion, or a loss. */
export type ListedMetric = { readonly name: string; readonly value: number | null; readonly criterion?: string };

/** Folders below the given one that are looked into, and how deep. */
const [MOST_FOLDERS, MOST_DEPTH] = [5000, 5];

/** The runs and evaluations below a folder, the latest first. @throws FileError if there is no such folder */
export function listRuns(folder: string): ListedRun[] {
  if (!existsSync(folder)) throw new FileError(folder, 'no such folder');
  if (!statSync(folder).isDirectory()) throw new FileError(folder, 'is a file, wanted a folder of runs');
  const folders = foldersBelow(folder);
  const evaluations = folders.filter((path) => existsSync(join(path, EVALUATION_FILE))).map(openEvaluation);
  const judged = new Map<string, ListedMetric[]>();
  for (const { evaluation } of evaluations)
    for (const { name, comparisons } of evaluation?.candidates ?? []) {
      const digest = evaluation!.models.find((model) => model.name === name)?.digest;
      if (digest !== undefined && !judged.has(digest)) judged.set(digest, comparisons.map(ofComparison));
    }
  const runs = folders.filter(isRun).map((path) => listedRun(path, judged));
  return [...runs, ...evaluations.map(listedEvaluation)].sort((a, b) => b.changed.localeCompare(a.changed));
}

type OpenedEvaluation = { readonly path: string; readonly evaluation: Evaluation | null };

function openEvaluation(path: string): OpenedEvaluation {
  try {
    return { path, evaluation: readEvaluation(path) };
  } catch (error) {
    if (error instanceof FileError) return { path, evaluation: null };
    throw error;
  }
}

/** Folders at and below one, links not followed. */
function foldersBelow(folder: string): string[] {
  const found = [folder];
  const depth = new Map([[folder, 0]]);
  for (const path of found) {
    if (depth.get(path)! >= MOST_DEPTH) continue;
    for (const name of namesIn(path)) {
      const child = join(path, name);
      if (found.length >= MOST_FOLDERS || name.startsWith('.') || !lstatSync(child, { throwIfNoEntry: false })?.isDirectory()) continue; // biome-ignore format: short
      depth.set(child, depth.get(path)! + 1);
      found.push(child);
    }
  }
  return found;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // of another user, or gone
  }
}

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);

function listedRun(path: string, judged: ReadonlyMap<string, readonly ListedMetric[]>): ListedRun {
  const manifest = mappingOf(manifestAt(path));
  const recipe = mappingOf(manifest['recipe'] ?? recipeAt(path));
  const log = logAt(path);
  const last = log?.lines.at(-1);
  const dataset = text(mappingOf(manifest['dataset'])['path']);
  const state = runState(path);
  const share = last?.totalSteps ? ` at ${Math.floor((100 * last.step) / last.totalSteps)} %` : '';
  const measured = judged.get(text(manifest['model']) ?? '') ?? [];
  return {
    path,
    kind: 'run',
    state: log ? (manifest['imported'] ? 'imported' : state === 'finished' ? state : `${state}${share}`) : 'damaged',
    method: manifest['imported'] ? null : text(mappingOf(recipe['method'])['kind']),
    data: dataset === null ? null : basename(dataset),
    metrics: measured.length > 0 ? measured : last ? [{ name: 'loss', value: last.loss }] : [],
    changed: changedAt([join(path, MANIFEST), runFiles(path).log, runFiles(path).recipe, path]),
  };
}

/** Null if it is damaged, or another user's. */
function logAt(path: string): RunLog | null {
  try {
    return readLinesAndEvents(path);
  } catch (error) {
    if (error instanceof FileError) return null;
    throw error;
  }
}

function recipeAt(path: string): unknown {
  try {
    return readJson(runFiles(path).recipe);
  } catch {
    return null;
  }
}

function listedEvaluation({ path, evaluation }: OpenedEvaluation): ListedRun {
  return {
    path,
    kind: 'evaluation',
    state: evaluation ? 'finished' : 'damaged',
    method: null,
    data: evaluation && basename(evaluation.dataset.path),
    metrics: (evaluation?.candidates ?? []).flatMap(({ name, comparisons: [first] }) =>
      first ? [{ ...ofComparison(first), name: `${name} ${first.metric}` }] : [],
    ),
    changed: changedAt([join(path, EVALUATION_FILE), path]),
  };
}

const ofComparison = ({ metric, newOld, criterion }: Evaluation['candidates'][number]['comparisons'][number]) => ({
  name: metric,
  value: 100 * newOld,
  criterion,
});

const changedAt = (paths: readonly string[]): string => {
  const first = paths.filter((path) => existsSync(path)).map((path) => statSync(path, { throwIfNoEntry: false }))[0];
  return new Date(first?.mtimeMs ?? 0).toISOString();
};

/** Metrics of a row of the table. */
const MOST_METRICS = 3;

/** What `listRuns` found, as a table. */
export function formatRuns(folder: string, listed: readonly ListedRun[], nowMs = Date.now()): string {
  if (listed.length === 0) return `${folder}: no runs and no evaluations`;
  const rows = listed.map(({ path, kind, state, method, data, metrics, changed }) => [
    relative(folder, path) || basename(path),
    kind,
    state,
    method ?? '–',
    data ?? '–',
    metrics.slice(0, MOST_METRICS).map(metricText).join(', ') || '–',
    ageText(nowMs - Date.parse(changed)),
  ]);
  return textTable(['path', 'what', 'state', 'method', 'data', 'new → old, percent', 'age'], rows);
}

const metricText = ({ name, value, criterion }: ListedMetric): string =>
  `${name} ${value === null ? '–' : name === 'loss' ? value.toPrecision(3) : value.toFixed(2)}${criterion === undefined ? '' : ` ${criterion}`}`;

function ageText(ms: number): string {
  const minutes = Math.max(0, Math.floor(ms / 60_000));
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}
