import type { LogLine, RunEvent } from '../../runs/run-log.ts';
import type { RunData } from '../watched-run.ts';

/** A run with all that came of it so far. */
export type Run = {
  readonly id: string;
  data: RunData;
  lines: LogLine[];
  events: RunEvent[];
  shown: boolean;
};

/** The runs of the page, by id, in the order in which they came. */
export const runs = new Map<string, Run>();

/** Takes what the server told of a run to what is known of it. */
export function take(data: RunData): void {
  const known = runs.get(data.id);
  const isNext = known?.data.generation === data.generation && known.lines.length >= data.from;
  const lines = isNext ? [...known.lines.slice(0, data.from), ...data.lines] : [...data.lines];
  const events = isNext ? [...known.events.slice(0, data.eventsFrom), ...data.events] : [...data.events];
  runs.set(data.id, { id: data.id, data, lines, events, shown: known?.shown ?? true });
}

/** Validations of a run. */
export const validationsOf = ({ events }: Run) => events.flatMap((event) => ('validation' in event ? [event] : []));
