import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Interrupted, messageOf, NonFiniteError, ProcessFailed, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import type { Experiment } from '../experiment/load.ts';
import { type RunOptions, runStages } from '../experiment/run.ts';
import { howEnded } from '../launch/launch-processes.ts';
import { stages as kinds } from '../stages/index.ts';
import { threads } from '../torch/index.ts';

/** The stages of one training of a trial, and where they are made. */
export type TrialJob = Pick<Experiment, 'title' | 'seed' | 'preset' | 'stages'> & Omit<RunOptions, 'signal' | 'only'>;

/** Errors that are told from others wherever a trial runs. */
const kindsOfErrors = { interrupted: Interrupted, 'non-finite': NonFiniteError, user: UserError } as const;

/** What a trial's process is told, and what it says. `failed` is a message; `user`: its reader can mend the cause. */
export type ToTrial = { readonly job: TrialJob; readonly threads: number } | 'stop';
export type FromTrial =
  | { readonly line: string }
  | 'done'
  | { readonly failed: string; readonly as: keyof typeof kindsOfErrors | 'other' };

/** Makes the stages of a trial here. @throws what `runStages` throws */
export async function runTrial(
  { title, seed, preset, stages, ...options }: TrialJob,
  signal: AbortSignal,
): Promise<void> {
  await runStages({ title, seed, preset, stages, aliases: {}, kinds }, { ...options, signal });
}

/**
 * Runs trials, `atOnce` of them at a time, the earliest asked for first. Several are a process each, which share the threads; it ends when
 * this process ends, however that comes. One is run here.
 */
export class TrialRuns {
  readonly #atOnce: number;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(atOnce: number, signal: AbortSignal) {
    this.#atOnce = atOnce;
    this.#signal = AbortSignal.any([signal, this.#stop.signal]);
  }

  /** Tells the other trials to stop because one has failed. @returns the error */
  failed(error: unknown): unknown {
    this.#stop.abort(error);
    return error;
  }

  /** What failed first, if something did. */
  get cause(): unknown {
    return this.#stop.signal.reason;
  }

  /**
   * Makes the stages of a trial, whose news are `name`'s. @throws Interrupted if the signal has fired; UserError or Error with the
   * message of what failed; ProcessFailed if the trial's process was ended
   */
  async run(name: string, job: TrialJob): Promise<void> {
    if (this.#running < this.#atOnce) this.#running++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      if (this.#signal.aborted) throw new Interrupted(`stopped before ${name}; the trials before it are done`);
      await (this.#atOnce === 1 ? runTrial(job, this.#signal) : this.#inProcess(name, job));
    } finally {
      const next = this.#waiting.shift(); // takes the place of this one
      if (next) next();
      else this.#running--;
    }
  }

  async #inProcess(name: string, job: TrialJob): Promise<void> {
    const share = Math.max(1, Math.floor(threads() / this.#atOnce));
    const child = fork(fileURLToPath(new URL('./trial-process.js', import.meta.url)), {
      detached: true, // Ctrl-C reaches it once, through us
      env: { ...process.env, OMP_NUM_THREADS: String(share) },
      execArgv: [],
      serialization: 'advanced',
    });
    const tell = (message: ToTrial): void => void (child.connected && child.send(message));
    const stop = (): void => tell('stop');
    this.#signal.addEventListener('abort', stop);
    try {
      await new Promise<void>((resolve, reject) => {
        let end: FromTrial | undefined;
        child.on('message', (message: FromTrial) => {
          if (typeof message === 'object' && 'line' in message) logLine(`${name}: ${message.line}`);
          else end = message;
        });
        child.once('error', (error) => reject(new ProcessFailed(`${name} could not be started: ${error.message}`, 1)));
        child.once('exit', (code, signal) => {
          if (end === 'done') return resolve();
          if (end && 'failed' in end) return reject(errorOf(end));
          const ended = howEnded(code, signal);
          reject(new ProcessFailed(`the process of ${name} ${ended.how}`, ended.code));
        });
        tell({ job, threads: share });
      });
    } finally {
      this.#signal.removeEventListener('abort', stop);
    }
  }
}

/** What a trial's process says of an error, and the error again. */
export function wordsOf(error: unknown): FromTrial {
  const kinds = Object.keys(kindsOfErrors) as (keyof typeof kindsOfErrors)[];
  const as = kinds.find((kind) => error instanceof kindsOfErrors[kind]) ?? 'other';
  return { failed: messageOf(error), as };
}

export function errorOf({ failed, as }: Extract<FromTrial, { failed: string }>): Error {
  return as === 'other' ? new Error(failed) : new kindsOfErrors[as](failed);
}
