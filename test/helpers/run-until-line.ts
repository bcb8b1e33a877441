// Run as a process of its own: runs an experiment until a line that begins with `line` is reported, then dies as if the power had failed.

import { noProgress, setReporter } from '../../src/base/progress.ts';
import { runExperiment } from '../../src/stages/run-experiment.ts';

const [file, out, line] = process.argv.slice(2) as [string, string, string];
setReporter({
  line: (text) => {
    if (text.startsWith(line)) process.kill(process.pid, 'SIGKILL');
  },
  progress: () => noProgress,
});
await runExperiment(file, { out, dataFolder: out, workers: 0 });
