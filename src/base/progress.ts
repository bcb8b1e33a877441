import { AsyncLocalStorage } from 'node:async_hooks';

/** Shows how a long job goes. */
export interface Progress {
  update(done: number, note?: string): void;
  /** Ends the display; the last state stays visible. */
  stop(): void;
}

/** Where news of a job and its progress go. */
export interface Reporter {
  /** A line of news. */
  line(text: string): void;
  progress(title: string, total: number): Progress;
}

/** For a job that another one shows. */
export const noProgress: Progress = { update: () => undefined, stop: () => undefined };

/** What a program that names no reporter gets. */
export const silentReporter: Reporter = { line: () => undefined, progress: () => noProgress };

const ofCalls = new AsyncLocalStorage<Reporter>();
let ofProcess = silentReporter;
/** Where a call made here reports. */
export const currentReporter = (): Reporter => ofCalls.getStore() ?? ofProcess;

/** Sets where the whole process reports, as the command line does. @returns what it was */
export function setReporter(reporter: Reporter): Reporter {
  const before = ofProcess;
  ofProcess = reporter;
  return before;
}

/** Calls `body`, all of which reports to `reporter`; without one to that of the process. */
export const reportTo = <T>(reporter: Reporter | undefined, body: () => T): T =>
  reporter ? ofCalls.run(reporter, body) : body();

/** Reports a line of news; what programs read is never news. */
export const logLine = (text: string): void => currentReporter().line(text);

/** Begins to report the progress of a job of `total` parts. */
export const progress = (title: string, total: number): Progress => currentReporter().progress(title, total);

/** A job that has lasted less long is not shown by `progressIfLong`. */
const SHOWN_AFTER_MS = 2000;

/** `progress` for a job that is over at once on small inputs: shown when it has lasted two seconds. */
export function progressIfLong(title: string, total: number): Progress {
  const reporter = currentReporter();
  const start = performance.now();
  let shown: Progress | undefined;
  return {
    update: (done, note) => {
      if (!shown && performance.now() - start < SHOWN_AFTER_MS) return;
      shown ??= reporter.progress(title, total);
      shown.update(done, note);
    },
    stop: () => shown?.stop(),
  };
}

/** `1 step`, `2 steps`. */
export const formatCount = (n: number, one: string, several = `${one}s`): string => `${n} ${n === 1 ? one : several}`;

/** Formats milliseconds: `42 s`, `3 min 10 s`, `2 h 5 min`. */
export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
