import { createRequire } from 'node:module';
import type { SingleBar } from 'cli-progress';

/** Shows how a long job goes. */
export interface Progress {
  update(done: number, note?: string): void;
  /** Ends the display; the last state stays visible. */
  stop(): void;
}

/** For a job that another one shows. */
export const silent: Progress = { update: () => undefined, stop: () => undefined };

/** How often a job that has no terminal says where it is. */
const LINE_EVERY_MS = 10_000;

/** Anything to do before a plain line is printed over a bar: the bars on screen now. */
const open = new Set<SingleBar>();

/** A bar with the time left on a terminal, a plain line every ten seconds elsewhere. All of it goes to standard error. */
export function progress(title: string, total: number): Progress {
  return process.stderr.isTTY && process.env['TERM'] !== 'dumb' ? bar(title, total) : lines(title, total);
}

function bar(title: string, total: number): Progress {
  const cliProgress = createRequire(import.meta.url)('cli-progress') as typeof import('cli-progress');
  const single = new cliProgress.SingleBar({
    format: `${title.padEnd(24)} {bar} {percentage}% · {value}/{total} · {eta_formatted} left {note}`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 24,
    hideCursor: true,
    etaBuffer: 50,
    stream: process.stderr,
  });
  single.start(total, 0, { note: '' });
  open.add(single);
  return {
    update: (done, note = '') => single.update(done, { note: note && `· ${note}` }),
    stop: () => {
      open.delete(single);
      single.stop();
    },
  };
}

function lines(title: string, total: number): Progress {
  const start = performance.now();
  let last = start;
  let printed = -1;
  const print = (done: number, note: string): void => {
    printed = done;
    const left = done > 0 ? ((performance.now() - start) / done) * (total - done) : 0;
    process.stderr.write(
      `${title}: ${done}/${total}${done < total ? `, ${duration(left)} left` : ''}${note && `, ${note}`}\n`,
    );
  };
  let current = { done: 0, note: '' };
  return {
    update: (done, note = '') => {
      current = { done, note };
      const now = performance.now();
      if (now - last < LINE_EVERY_MS) return;
      last = now;
      print(done, note);
    },
    stop: () => {
      if (current.done !== printed) print(current.done, current.note);
    },
  };
}

/** `1 step`, `2 steps`. */
export const countOf = (n: number, one: string, several: string): string => `${n} ${n === 1 ? one : several}`;

/** Milliseconds as people say them: `42 s`, `3 min 10 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A line of news on standard error; what programs read goes to standard output. */
export function logLine(text: string): void {
  for (const bar of open) bar.stop();
  process.stderr.write(`${text}\n`);
  for (const bar of open) bar.start(bar.getTotal(), 0);
}
