// Run as a process of its own by open-validation.test.ts: trains as the JSON of its argument says, and dies as if the power had
// failed right after the validation of step `killAt`, before its checkpoint.
import { parseRecipe } from '../../src/runs/load-recipe.ts';
import { trainModel } from '../../src/stages/train.ts';
import { setThreads } from '../../src/torch/index.ts';

const { killAt, recipe, ...options } = JSON.parse(process.argv[2]!);
setThreads(1);
const kill = { onValidation: ({ step }: { readonly step: number }) => void (step === killAt && process.kill(process.pid, 'SIGKILL')) }; // biome-ignore format: short
// the validation's own hook comes after those that are given: `onValidation` is called once its metrics are recorded
await trainModel({ ...options, recipe: parseRecipe(recipe, 'a test'), hooks: [kill] });
