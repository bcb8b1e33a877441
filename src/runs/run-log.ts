import { existsSync } from 'node:fs';
import { FileError } from '../base/errors.ts';
import { Nullable, Optional, type Shape, shapeMismatch } from '../base/shape.ts';
import { readTextFile } from '../base/text-file.ts';
import { hasCheckpoint, runFiles } from './run-artifact.ts';

/** A line of a run's log: means over the steps since the line before. A number that was not finite is null. */
export type LogLine = {
  readonly step: number;
  /** From 0. */
  readonly epoch: number;
  readonly loss: number;
  /** Not weighted. */
  readonly terms: Readonly<Record<string, number | null>>;
  readonly gradNorm: number | null;
  readonly lr: number;
  readonly samplesPerSecond: number;
  readonly dataWaitShare: number;
  readonly counts: Readonly<Record<string, number>>;
  /** When it was written, as ISO 8601, and the steps of the whole run. Missing up to 0.3.0. */
  readonly time?: string;
  readonly totalSteps?: number;
};

/** A line of what happened in a run: a message, or the metrics of a validation by name. */
export type RunEvent = {
  /** Steps taken before it. */
  readonly step: number;
  readonly time: string;
} & ({ readonly message: string } | { readonly validation: Readonly<Record<string, number | null>> });

const number = new Nullable(0);
const lineShape: Shape = {
  step: 0,
  epoch: 0,
  loss: 0,
  terms: {},
  gradNorm: number,
  lr: 0,
  samplesPerSecond: 0,
  dataWaitShare: 0,
  counts: {},
  time: new Optional(''),
  totalSteps: new Optional(0),
};
const eventShape: Shape = { step: 0, time: '', message: new Optional(''), validation: new Optional({}) };

const areNumbers = (value: object): boolean =>
  Object.values(value).every((one) => one === null || typeof one === 'number');

/** A line of the log; null if it is none: the last one may be cut short. */
export function parseLogLine(text: string): LogLine | null {
  const line = parsed<LogLine>(text, lineShape);
  return line && areNumbers(line.terms) && areNumbers(line.counts) ? line : null;
}

/** A line of what happened; null if it is none. */
export function parseRunEvent(text: string): RunEvent | null {
  const event = parsed<RunEvent>(text, eventShape);
  if (!event) return null;
  return 'message' in event || ('validation' in event && areNumbers(event.validation)) ? event : null;
}

function parsed<T>(text: string, shape: Shape): T | null {
  try {
    const value: unknown = JSON.parse(text);
    return shapeMismatch(value, shape) === null ? (value as T) : null;
  } catch {
    return null;
  }
}

/** Appends to a log. A step that is logged again replaces the lines from that step on. */
export function appendLine(lines: LogLine[], line: LogLine): void {
  while (lines.length > 0 && lines.at(-1)!.step >= line.step) lines.pop();
  lines.push(line);
}

export type RunLog = { readonly lines: readonly LogLine[]; readonly events: readonly RunEvent[] };

/** Log and events of a run, finished or not. @throws FileError if there are none. */
export function readRunLog(out: string): RunLog {
  const files = runFiles(out);
  if (!existsSync(files.log)) {
    const begun = hasCheckpoint(out);
    throw new FileError(
      out,
      begun ? 'this run has not logged a step yet' : 'has no log of a training',
      begun ? '' : 'train one: mixbct train',
    );
  }
  const log = readLinesAndEvents(out);
  if (log.lines.length === 0) throw new FileError(files.log, 'has no line of a training');
  return log;
}

/** `readRunLog` of a run that may have logged nothing. */
export function readLinesAndEvents(out: string): RunLog {
  const files = runFiles(out);
  const lines: LogLine[] = [];
  for (const text of linesOf(files.log)) {
    const line = parseLogLine(text);
    if (line) appendLine(lines, line);
  }
  return { lines, events: linesOf(files.events).flatMap((text) => parseRunEvent(text) ?? []) };
}

const linesOf = (path: string): string[] => (existsSync(path) ? readTextFile(path).split('\n') : []);

/** Seconds that a training still takes at its present speed; null if the log does not tell. */
export function secondsLeft(
  { step, totalSteps, samplesPerSecond }: LogLine,
  batchSize: number | undefined,
): number | null {
  if (totalSteps === undefined || batchSize === undefined || !(samplesPerSecond > 0)) return null;
  return (Math.max(0, totalSteps - step) * batchSize) / samplesPerSecond;
}

/** A log as a table: a head, and a row for each line and validation. Numbers that are missing are null. */
export function logTable({ lines, events }: RunLog): {
  readonly header: readonly string[];
  readonly rows: readonly (readonly (string | number | null)[])[];
} {
  const validations = events.flatMap((event) => ('validation' in event ? [event] : []));
  const namesIn = (of: readonly object[]): string[] => [...new Set(of.flatMap((one) => Object.keys(one)))];
  const terms = namesIn(lines.map((line) => line.terms));
  const counts = namesIn(lines.map((line) => line.counts));
  const metrics = namesIn(validations.map(({ validation }) => validation));
  const none = <T>(names: readonly T[]): null[] => names.map(() => null);
  const rows = [
    ...lines.map((line) => ({
      step: line.step,
      order: 0,
      cells: [
        ...[line.step, line.epoch, line.time ?? null, line.loss],
        ...terms.map((name) => line.terms[name] ?? null),
        ...[line.gradNorm, line.lr, line.samplesPerSecond, line.dataWaitShare],
        ...counts.map((name) => line.counts[name] ?? null),
        ...none(metrics),
      ],
    })),
    ...validations.map(({ step, time, validation }) => ({
      step,
      order: 1,
      cells: [
        ...[step, null, time, null],
        ...none(terms),
        ...[null, null, null, null],
        ...none(counts),
        ...metrics.map((name) => validation[name] ?? null),
      ],
    })),
  ].sort((a, b) => a.step - b.step || a.order - b.order);
  return {
    header: [
      ...['step', 'epoch', 'time', 'loss'],
      ...terms,
      ...['gradNorm', 'lr', 'samplesPerSecond', 'dataWaitShare'],
      ...counts,
      ...metrics,
    ],
    rows: rows.map(({ cells }) => cells),
  };
}

/** A table as CSV (RFC 4180). */
export const toCsv = (header: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string =>
  [header, ...rows].map((row) => row.map(csvCell).join(',')).join('\r\n');

function csvCell(value: string | number | null): string {
  const text = value === null ? '' : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
