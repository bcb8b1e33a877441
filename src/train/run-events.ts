import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { fsyncPath, writeAtomic } from '../artifacts/durable-write.ts';
import { codeOf } from '../base/errors.ts';
import type { Progress, Reporter } from '../base/progress.ts';

/**
 * What happened in a run: messages, which go on to whom they are for, and validations. Both are lines of a file in the run's
 * folder. Messages wait until that folder is there.
 */
export class RunEvents implements Reporter {
  readonly #path: string | null;
  readonly #reporter: Reporter;
  #waiting: string[] | null = [];
  #step = 0;

  /** `path`: null in processes that write nothing. */
  constructor(path: string | null, reporter: Reporter) {
    this.#path = path;
    this.#reporter = reporter;
  }

  /** Begins to write. Of a run that resumes after `step`, what came later is dropped, and what it says again is not repeated. */
  open(step: number): void {
    this.#step = step;
    if (this.#path !== null) dropLinesAfter(this.#path, step);
    const before = new Set(this.#path !== null && existsSync(this.#path) ? messagesIn(this.#path) : []);
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    for (const message of waiting) if (!before.has(message)) this.#append({ message });
  }

  /** Sets the step of what happens from now on. */
  at(step: number): void {
    this.#step = step;
  }

  line(text: string): void {
    this.#reporter.line(text);
    if (this.#waiting) this.#waiting.push(text);
    else this.#append({ message: text });
  }

  progress(title: string, total: number): Progress {
    return this.#reporter.progress(title, total);
  }

  /** Writes metrics of a validation and syncs them: a run that resumes needs them. Non-finite numbers become null. */
  validation(metrics: Readonly<Record<string, number>>): void {
    this.#append({ validation: metrics });
    if (this.#path !== null) fsyncPath(this.#path);
  }

  #append(what: object): void {
    if (this.#path === null) return;
    const entry = { step: this.#step, time: new Date().toISOString(), ...what };
    try {
      appendFileSync(this.#path, `${JSON.stringify(entry)}\n`);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error; // a run that failed at its first step leaves no folder
    }
  }
}

const messagesIn = (path: string): unknown[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line).message);

/** Drops the lines of steps that will be taken again, so that a resumed run logs each step once. */
export function dropLinesAfter(path: string, step: number): void {
  if (!existsSync(path)) return;
  const kept = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => {
      try {
        return JSON.parse(line).step <= step;
      } catch {
        return false; // the last line of a killed run may be cut short
      }
    });
  writeAtomic(path, kept.map((line) => `${line}\n`).join(''));
}
