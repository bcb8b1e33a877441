// The process of one trial: makes the stages that it is told to, and says how that went.
import { noProgress, setReporter } from '../base/progress.ts';
import { setThreads } from '../torch/index.ts';
import { type FromTrial, runTrial, type ToTrial, wordsOf } from './trial-runs.ts';

const controller = new AbortController();
const say = (message: FromTrial, said?: () => void): void => void (process.connected && process.send!(message, said));

setReporter({ line: (line) => say({ line }), progress: () => noProgress });
process.on('disconnect', () => process.exit(1)); // who asked for it is gone; what is on disk is whole
process.on('message', async (message: ToTrial) => {
  if (message === 'stop') return controller.abort();
  setThreads(message.threads);
  const end = await runTrial(message.job, controller.signal).then(() => 'done' as const, wordsOf);
  say(end, () => process.exit(0));
});
