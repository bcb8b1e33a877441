import { appendFileSync } from 'node:fs';
import type { Progress } from '../base/progress.ts';
import type { LogLine } from '../runs/run-log.ts';
import { dropLinesAfter } from './run-events.ts';
import type { StepReport, TrainerHook, TrainingState } from './trainer-hook.ts';

/** Appends a JSON line to a run's log every `every` steps, with means since the last line, and shows it as progress. */
export class TrainingLog implements TrainerHook {
  readonly #path: string;
  readonly #every: number;
  readonly #onLine: (line: LogLine) => Promise<void>;
  readonly #progress: Progress;
  #since: StepReport[] = [];
  #sinceMs = performance.now();

  constructor(path: string, progress: Progress, every: number, onLine: (line: LogLine) => Promise<void>) {
    this.#onLine = onLine;
    this.#path = path;
    this.#progress = progress;
    this.#every = every;
  }

  onStart({ step }: TrainingState): void {
    dropLinesAfter(this.#path, step);
    this.#sinceMs = performance.now();
  }

  /** Means skip non-finite numbers. Without any finite loss there is no line. */
  async onStep(training: TrainingState, report: StepReport): Promise<void> {
    const { step, epoch } = training;
    this.#since.push(report);
    if (step % this.#every !== 0 && step !== training.totalSteps) return;
    const now = performance.now();
    const elapsedMs = now - this.#sinceMs;
    const mean = (of: (r: StepReport) => number): number => {
      const values = this.#since.map(of).filter(Number.isFinite);
      return values.reduce((sum, value) => sum + value, 0) / values.length;
    };
    if (!Number.isFinite(mean((r) => r.loss))) return;
    const line: LogLine = {
      step,
      epoch,
      loss: mean((r) => r.loss),
      terms: Object.fromEntries(Object.keys(report.terms).map((name) => [name, mean((r) => r.terms[name] ?? 0)])),
      gradNorm: mean((r) => r.gradNorm),
      lr: report.lr,
      samplesPerSecond: (this.#since.reduce((sum, r) => sum + r.samples, 0) / elapsedMs) * 1000,
      dataWaitShare: this.#since.reduce((sum, r) => sum + r.waitedMs, 0) / elapsedMs,
      counts: Object.fromEntries(training.counts),
      totalSteps: training.totalSteps,
      time: new Date().toISOString(),
    };
    appendFileSync(this.#path, `${JSON.stringify(line)}\n`);
    const terms = Object.entries(line.terms).map(([name, value]) => `${name} ${value!.toFixed(3)}`);
    const waited = `data wait ${(line.dataWaitShare * 100).toFixed(1)} %`;
    this.#progress.update(
      step,
      `epoch ${epoch + 1} · ${terms.join(' ')} · lr ${line.lr.toPrecision(3)} · ${line.samplesPerSecond.toFixed(0)}/s · ${waited}`,
    );
    this.#since = [];
    this.#sinceMs = now;
    await this.#onLine(line);
  }

  [Symbol.dispose](): void {
    this.#progress.stop();
  }
}
