// Run as a process of its own by record-output.test.ts: dies at the how manieth rename below `out`.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { RecordSet } from '../../src/data/record-set.ts';
import { holdOut } from '../../src/data/split.ts';

const [prefix, out, time, force] = process.argv.slice(2) as [string, string, string, string];
const { renameSync } = fs;
let renames = 0;
fs.renameSync = (from, to) => {
  if (++renames === Number(time)) process.kill(process.pid, 'SIGKILL');
  renameSync(from, to);
};
syncBuiltinESMExports();
await holdOut(new RecordSet(prefix), { classes: 2, seed: 1, out, force: force === 'true' });
