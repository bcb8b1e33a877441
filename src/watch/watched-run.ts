import { existsSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { readJson } from '../artifacts/json-file.ts';
import { kindAt, MANIFEST } from '../artifacts/manifest.ts';
import { outputWriter } from '../artifacts/output-lock.ts';
import { mappingOf } from '../base/shape.ts';
import { hasCheckpoint, runFiles } from '../runs/run-artifact.ts';
import { appendLine, type LogLine, parseLogLine, parseRunEvent, type RunEvent, secondsLeft } from '../runs/run-log.ts';
import { LogTail } from './log-tail.ts';

/** How a run stands. `elsewhere`: a process of another machine or container writes it. */
export type RunState = 'running' | 'elsewhere' | 'interrupted' | 'finished' | 'not begun';

/** A run as the page gets it: what it has not had yet. */
export type RunData = {
  readonly id: string;
  readonly name: string;
  readonly state: RunState;
  /** Method, network and batch size, as far as its recipe tells. */
  readonly about: string;
  readonly epochs: number | null;
  readonly secondsLeft: number | null;
  /** Changes when the log was replaced: what the page has of an earlier one no longer counts. */
  readonly generation: number;
  /** The position in the log of the first of `lines`. */
  readonly from: number;
  readonly lines: readonly LogLine[];
  readonly eventsFrom: number;
  readonly events: readonly RunEvent[];
};

/** How much of a run a page has. */
export type Seen = { readonly generation: number; readonly lines: number; readonly events: number };

type RecipeFacts = Pick<RunData, 'about' | 'epochs'> & { readonly batchSize: number | undefined };
const NO_FACTS: RecipeFacts = { about: '', epochs: null, batchSize: undefined };

/** Whether a folder holds a training: begun, interrupted or finished. */
export const isRun = (path: string): boolean =>
  kindAt(path) === 'run' || existsSync(runFiles(path).log) || hasCheckpoint(path) || existsSync(runFiles(path).recipe);

/** Follows the files of one run. */
export class WatchedRun {
  readonly path: string;
  readonly id: string;
  readonly name: string;
  readonly #log: LogTail;
  readonly #happened: LogTail;
  #lines: LogLine[] = [];
  #events: RunEvent[] = [];
  #generation = 0;
  #facts = NO_FACTS;
  /** Time of change of the recipe that `#facts` are of. */
  #recipeMs = 0;

  constructor(path: string, id: string, name = basename(resolve(path))) {
    this.path = path;
    this.id = id;
    this.name = name;
    const files = runFiles(path);
    this.#log = new LogTail(files.log);
    this.#happened = new LogTail(files.events);
  }

  /** Reads what is new. */
  poll(): void {
    const [log, happened] = [this.#log.read(), this.#happened.read()];
    if (log.replaced || happened.replaced) this.#generation++;
    if (log.replaced) this.#lines = [];
    if (happened.replaced) this.#events = [];
    for (const text of log.lines) {
      const line = parseLogLine(text);
      if (!line) continue;
      if ((this.#lines.at(-1)?.step ?? -1) >= line.step) this.#generation++;
      appendLine(this.#lines, line);
    }
    this.#events.push(...happened.lines.flatMap((text) => parseRunEvent(text) ?? []));
    this.#readRecipe();
  }

  get lastLine(): LogLine | undefined {
    return this.#lines.at(-1);
  }

  /** What a page lacks that has `seen`. */
  data(seen: Seen | undefined): RunData {
    const known = seen?.generation === this.#generation ? seen : { lines: 0, events: 0 };
    const state = runState(this.path);
    const last = this.lastLine;
    const { about, epochs, batchSize } = this.#facts;
    return {
      id: this.id,
      name: this.name,
      state,
      about,
      epochs,
      secondsLeft: last && (state === 'running' || state === 'elsewhere') ? secondsLeft(last, batchSize) : null,
      generation: this.#generation,
      from: known.lines,
      lines: this.#lines.slice(known.lines),
      eventsFrom: known.events,
      events: this.#events.slice(known.events),
    };
  }

  #readRecipe(): void {
    const { recipe } = runFiles(this.path);
    const changed = statSync(recipe, { throwIfNoEntry: false })?.mtimeMs;
    if (changed === undefined || changed === this.#recipeMs) return;
    this.#recipeMs = changed;
    try {
      this.#facts = factsOf(readJson(recipe));
    } catch {
      this.#facts = NO_FACTS; // damaged: the curves need none of it
    }
  }
}

function factsOf(recipe: unknown): RecipeFacts {
  const whole = (value: unknown): number | undefined => (Number.isInteger(value) ? (value as number) : undefined);
  const { method, network, batchSize, epochs, optimizer } = mappingOf(recipe);
  const parts = [
    mappingOf(method)['kind'],
    mappingOf(network)['name'],
    mappingOf(optimizer)['kind'],
    whole(batchSize) && `batch ${batchSize}`,
    whole(epochs) && `${epochs} epochs`,
  ];
  return {
    about: parts.filter((part) => typeof part === 'string').join(' · '),
    epochs: whole(epochs) ?? null,
    batchSize: whole(batchSize),
  };
}

/** How the run in a folder stands. */
export function runState(path: string): RunState {
  const writer = outputWriter(path);
  if (writer) return writer.host === hostname() ? 'running' : 'elsewhere';
  if (existsSync(join(path, MANIFEST))) return 'finished';
  return hasCheckpoint(path) || existsSync(runFiles(path).log) ? 'interrupted' : 'not begun';
}
