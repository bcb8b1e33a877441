import { createRequire } from 'node:module';
import type { SingleBar } from 'cli-progress';
import { formatDuration, type Progress, type Reporter } from './progress.ts';

/** How often a job that has no terminal says where it is. */
const LINE_EVERY_MS = 10_000;

/** The bars on screen: a plain line is printed above them. */
const open = new Set<SingleBar>();

/** Reports on standard error: a bar with the time left on a terminal, a plain line every ten seconds elsewhere. */
export const terminalReporter: Reporter = {
  line: (text) => {
    for (const bar of open) bar.stop();
    process.stderr.write(`${text}\n`);
    for (const bar of open) bar.start(bar.getTotal(), 0);
  },
  progress: (title, total) =>
    process.stderr.isTTY && process.env['TERM'] !== 'dumb' ? bar(title, total) : lines(title, total),
};

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
      `${title}: ${done}/${total}${done < total ? `, ${formatDuration(left)} left` : ''}${note && `, ${note}`}\n`,
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
