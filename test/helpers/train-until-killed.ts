// Run as a process of its own by train.test.ts: trains until step `killAt`, then dies as if the power had failed.
import { appendFileSync } from 'node:fs';
import { openDataset } from '../../src/data/index.ts';
import { setThreads } from '../../src/torch/index.ts';
import { openOldModelInputs } from '../../src/train/old-model-inputs.ts';
import { train } from '../../src/train/train.ts';
import { tinyRecipe } from './recipes.ts';

const [prefix, out, changes, paths, killAt] = process.argv.slice(2) as [string, string, string, string, string];
setThreads(1);
const recipe = tinyRecipe(JSON.parse(changes));
const dataset = openDataset(prefix);
const supply = openOldModelInputs(recipe, JSON.parse(paths), dataset);
let steps = 0;
const old = {
  ...supply,
  forBatch: (indices: Int32Array) => {
    if (++steps === Number(killAt)) {
      appendFileSync(`${out}.killed`, `${steps}`);
      process.kill(process.pid, 'SIGKILL');
    }
    return supply.forBatch(indices);
  },
};
await train({ recipe, dataset, old, out, logEvery: 1 });
