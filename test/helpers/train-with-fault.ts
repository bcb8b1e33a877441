// Run as a process of its own by faults.test.ts: trains while one call to the file system goes wrong.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { openDataset } from '../../src/data/index.ts';
import { setThreads } from '../../src/torch/index.ts';
import { noOldModelInputs } from '../../src/train/old-model-inputs.ts';
import { train } from '../../src/train/train.ts';
import { tinyRecipe } from './recipes.ts';

/** What goes wrong, at the how manieth file whose path (of renames: the new one) ends in `suffix`, and how. */
export type Fault = {
  readonly call: 'write' | 'rename';
  readonly suffix: string;
  readonly time: number;
  readonly how: 'kill' | 'ENOSPC';
};

const [prefix, out, changes, fault, resume] = process.argv.slice(2) as [string, string, string, string, string];
const { call, suffix, time, how }: Fault = JSON.parse(fault);

/** Writes of that file that succeed: a part of its tensors. */
const WRITES = 40;

const { openSync, writeSync, renameSync } = fs;
let files = 0;
const isThatFile = (path: unknown): boolean => String(path).endsWith(suffix) && ++files === time;
function strike(): void {
  if (how === 'kill') process.kill(process.pid, 'SIGKILL');
  throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
}
if (call === 'rename')
  fs.renameSync = (from, to) => {
    if (isThatFile(to)) strike();
    renameSync(from, to);
  };
else {
  let torn = -1;
  let writes = 0;
  fs.openSync = (path, ...rest) => {
    const file = openSync(path, ...rest);
    if (isThatFile(path)) torn = file;
    return file;
  };
  fs.writeSync = ((file: number, ...rest: [Uint8Array]) => {
    if (file === torn && ++writes > WRITES) strike();
    return writeSync(file, ...rest);
  }) as typeof fs.writeSync;
}
syncBuiltinESMExports();

setThreads(1);
const dataset = openDataset(prefix);
try {
  const recipe = tinyRecipe(JSON.parse(changes));
  await train({ recipe, dataset, old: noOldModelInputs, out, logEvery: 1, saveEvery: 2, resume: resume === 'resume' });
} catch (error) {
  process.stderr.write((error as Error).message);
  process.exitCode = 2;
}
