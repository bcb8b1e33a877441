import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../src/base/version.ts';
import { mixbctProcess } from '../test/helpers/cli.ts';
import { idleCommands } from '../test/helpers/idle-commands.ts';
import { writeTinySet } from '../test/helpers/images.ts';
import { type Bench, measured, tell, worst } from './bench.ts';

/** CPU seconds that a command which computes nothing may take. */
const BAR_SECONDS = 0.25;
const COMMANDS = [
  ...idleCommands,
  'recipes OPclass_ms1mv3_r18_to_r50_MixBCT_softmax_to_arc_f128',
  'report judged',
  'compare judged judged',
  'compare model model',
  'data info set',
] as const;

/** CPU seconds of commands that compute nothing, the least of several runs: what comes on top is other work's. */
export const start: Bench = {
  summary: 'CPU seconds of commands that compute nothing',
  async run({ runs }) {
    const folder = mkdtempSync(join(tmpdir(), 'mixbct-start-'));
    try {
      await writeWorld(folder);
      const bare = leastSeconds(folder, ['-e', '0'], runs);
      tell(`node -e 0: ${bare.toFixed(2)} s`);
      const main = join(packageRoot, 'dist/src/cli/main.js');
      const rows = COMMANDS.map((command) => {
        const seconds = leastSeconds(folder, [main, ...command.split(' ')], runs);
        tell(`mixbct ${command}: ${seconds.toFixed(2)} s`);
        return { command, seconds, ...measured(seconds, BAR_SECONDS, 'lower') };
      });
      return { ...worst(rows), bare, rows };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function writeWorld(folder: string): Promise<void> {
  await writeTinySet(join(folder, 'set'), { perClass: new Array(14).fill(6), families: 3 });
  writeFileSync(
    join(folder, 'recipe.yaml'),
    'network: { name: r18, embeddingDim: 8, inputSide: 16, width: 0.0625 }\nepochs: 1\nbatchSize: 8\n',
  );
  for (const line of [
    'train recipe.yaml --data set --out model',
    'extract model --data set --out features',
    'evaluate --old features --new a=features --resamples 20 --out judged',
  ])
    mixbctProcess(folder, ...line.split(' '));
}

/** Bash tells user and system time of what it ran, all its processes and threads together. */
const TIME = 'TIMEFORMAT="%U %S"; { time "$@" > /dev/null 2> /dev/null; } 2>&1';

/** User and system time of a process of Node, the least of `runs`. */
function leastSeconds(cwd: string, args: readonly string[], runs: number): number {
  const seconds = Array.from({ length: runs }, () => {
    const { stdout } = spawnSync('bash', ['-c', TIME, 'bash', process.execPath, ...args], { cwd, encoding: 'utf8' });
    const [user, system] = stdout.trim().split(' ').map(Number) as [number, number];
    return user + system;
  });
  return Math.min(...seconds);
}
