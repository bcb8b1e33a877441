import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { writeAtomic } from '../artifacts/artifact.ts';
import { FileError } from '../base/errors.ts';
import { logLine, type Progress } from '../base/progress.ts';

/** What one step tells. */
export type StepReport = {
  readonly loss: number;
  readonly terms: Readonly<Record<string, number>>;
  readonly gradNorm: number;
  readonly lr: number;
  readonly samples: number;
  readonly waitedMs: number;
};

/** Writes a run's log: a JSON line for programs and a readable line for people every `every` steps, means since the last. */
export class TrainingLog {
  readonly #path: string | null;
  readonly #every: number;
  readonly #totalSteps: number;
  readonly #counts: Map<string, number>;
  readonly #progress: Progress;
  #since: StepReport[] = [];
  #sinceMs = performance.now();
  waitedMs = 0;

  /** `path`: null in a process that only counts. */
  constructor(
    path: string | null,
    progress: Progress,
    {
      every,
      firstStep,
      totalSteps,
      counts = {},
    }: {
      readonly every: number;
      readonly firstStep: number;
      readonly totalSteps: number;
      /** What an interrupted run had counted. */
      readonly counts?: Readonly<Record<string, number>>;
    },
  ) {
    this.#path = path;
    this.#progress = progress;
    this.#every = every;
    this.#totalSteps = totalSteps;
    this.#counts = new Map(Object.entries(counts));
    if (path) forgetAfter(path, firstStep);
  }

  /** Adds to a counter of log and manifest; the first time that there is something to count, it is said. */
  count(what: string, by: number): void {
    if (by === 0) return;
    if (this.#path && !this.#counts.has(what)) logLine(`${what}: ${by} in this step; log and manifest count them`);
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + by);
  }

  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  /** `step` steps are done now, `epoch` of them whole. Means leave out what is not finite; without any loss there is no line. */
  report(step: number, epoch: number, report: StepReport): void {
    this.#since.push(report);
    this.waitedMs += report.waitedMs;
    if (step % this.#every !== 0 && step !== this.#totalSteps) return;
    const now = performance.now();
    const elapsedMs = now - this.#sinceMs;
    const mean = (of: (r: StepReport) => number): number => {
      const values = this.#since.map(of).filter(Number.isFinite);
      return values.reduce((sum, value) => sum + value, 0) / values.length;
    };
    if (!Number.isFinite(mean((r) => r.loss))) return;
    const line = {
      step,
      epoch,
      loss: mean((r) => r.loss),
      terms: Object.fromEntries(Object.keys(report.terms).map((name) => [name, mean((r) => r.terms[name] ?? 0)])),
      gradNorm: mean((r) => r.gradNorm),
      lr: report.lr,
      samplesPerSecond: (this.#since.reduce((sum, r) => sum + r.samples, 0) / elapsedMs) * 1000,
      dataWaitShare: this.#since.reduce((sum, r) => sum + r.waitedMs, 0) / elapsedMs,
      counts: this.counts,
    };
    if (this.#path) appendFileSync(this.#path, `${JSON.stringify(line)}\n`);
    const terms = Object.entries(line.terms).map(([name, value]) => `${name} ${value.toFixed(3)}`);
    const waited = `data wait ${(line.dataWaitShare * 100).toFixed(1)} %`;
    this.#progress.update(
      step,
      `epoch ${epoch + 1} · ${terms.join(' ')} · lr ${line.lr.toPrecision(3)} · ${line.samplesPerSecond.toFixed(0)}/s · ${waited}`,
    );
    this.#since = [];
    this.#sinceMs = now;
  }
}

/** Drops lines of steps that will be taken again, so that a resumed run's log tells each step once. */
function forgetAfter(path: string, step: number): void {
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

const reportSchema = z.object({ step: z.number(), loss: z.number(), terms: z.record(z.string(), z.number()) });

/** The last line of a run's log, or null if it has none. */
export function lastReport(path: string): z.infer<typeof reportSchema> | null {
  if (!existsSync(path)) return null;
  const line = readFileSync(path, 'utf8').trimEnd().split('\n').at(-1);
  if (!line) return null;
  try {
    return reportSchema.parse(JSON.parse(line));
  } catch {
    throw new FileError(path, 'its last line is damaged', 'remove that line');
  }
}
