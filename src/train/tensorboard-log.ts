import { EventFile, scalarsOf, validationScalars } from '../runs/event-file.ts';
import { runFiles } from '../runs/run-artifact.ts';
import { type LogLine, readLinesAndEvents } from '../runs/run-log.ts';
import type { TrainerHook, TrainingState } from './trainer-hook.ts';

/** Writes what the log holds as an event file of TensorBoard, too. Only the process that writes the run has this hook. */
export class TensorBoardLog implements TrainerHook {
  #file: EventFile | undefined;

  onStart({ out }: TrainingState): void {
    const { lines, events } = readLinesAndEvents(out);
    const validations = events.flatMap((event) =>
      'validation' in event ? [validationScalars(event.step, event.time, event.validation)] : [],
    );
    const before = [...lines.map(scalarsOf), ...validations].sort((a, b) => a.step - b.step);
    this.#file = new EventFile(runFiles(out).tensorboard, before);
  }

  onLogLine(_: TrainingState, line: LogLine): void {
    this.#file!.write(scalarsOf(line));
  }

  onValidation({ step }: TrainingState, metrics: Readonly<Record<string, number>>): void {
    this.#file!.write(validationScalars(step, new Date().toISOString(), metrics));
  }
}
