import { formatCount, formatDuration } from '../base/progress.ts';
import { textTable } from '../report/terminal.ts';
import { logTable, type RunLog } from '../runs/run-log.ts';

/** Lines of a log that a terminal shows. */
const SHOWN = 20;

/** The end of a run's log as a table, and its messages. */
export function formatLog(out: string, log: RunLog): string {
  const { header, rows } = logTable(log);
  const time = header.indexOf('time');
  const without = <T>(row: readonly T[]): T[] => row.filter((_, i) => i !== time);
  const shown = rows.slice(-SHOWN).map((row) => without(row).map(cell));
  const messages = log.events.flatMap((event) => ('message' in event ? [event] : []));
  return [
    `${out}: ${formatCount(rows.length, 'line')}${rows.length > SHOWN ? `, the last ${SHOWN}` : ''}${durationOf(log)}`,
    textTable(without(header), shown),
    ...(messages.length > 0 ? ['', 'messages', ...messages.map((one) => `  step ${one.step}: ${one.message}`)] : []),
  ].join('\n');
}

function durationOf({ lines }: RunLog): string {
  const [from, to] = [lines[0]?.time, lines.at(-1)?.time].map((time) => Date.parse(time ?? ''));
  return Number.isFinite(to! - from!) ? `, written in ${formatDuration(to! - from!)}` : '';
}

const cell = (value: string | number | null): string =>
  value === null
    ? ''
    : typeof value === 'number' && !Number.isInteger(value)
      ? String(Number(value.toPrecision(4)))
      : String(value);
