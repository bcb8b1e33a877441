// node dist/scripts/faults.js [--over training,train,extract,import,split,pack,ijb] [--kills 10] [--seed 1]: kills processes at random,
// again and again, and looks at what is left. `training`: a run of several processes; the others: one process of a command.
import { parseArgs } from 'node:util';
import { Rng } from '../src/base/rng.ts';
import { commandNames, killCommand } from './faults/commands.ts';
import { killTraining } from './faults/training.ts';

const { values } = parseArgs({
  options: {
    over: { type: 'string', default: 'training' },
    kills: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
  },
});
const problems: string[] = [];
for (const what of values.over!.split(',')) {
  const rng = new Rng(values.seed!).split('faults', ...(what === 'training' ? [] : [what]));
  if (what === 'training') problems.push(...(await killTraining(Number(values.kills), rng)));
  else if (commandNames.includes(what)) problems.push(...(await killCommand(what, Number(values.kills), rng)));
  else problems.push(`--over ${what}: wanted training, ${commandNames.join(', ')}`);
}
for (const problem of problems) process.stdout.write(`PROBLEM ${problem}\n`);
process.stdout.write(problems.length === 0 ? 'survived\n' : `${problems.length} problems\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
