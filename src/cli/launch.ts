import { Option } from 'commander';
import { checkLaunch, type LaunchOptions } from '../launch/check-launch.ts';
import { launchedCommands } from '../launch/launched-commands.ts';
import { group } from './context.ts';
import { mostThreads, REQUIRED } from './options.ts';

const SECRET = 'file with a secret that the processes on several machines share (or MIXBCT_RDZV_SECRET)';

export const launchCommand = () =>
  group('launch', 'run a command as several processes that work together')
    .example(
      'mixbct launch --nproc 8 -- train recipes/glyphs/old.yaml --data data/k12/k12_32_train --out runs/old',
      'mixbct launch --nproc 8 --nnodes 2 --node-rank 0 --master-addr 10.0.0.1 --master-port 29500 --rdzv-secret secret.txt -- train …',
    )
    .argument('<command...>', `after --: ${launchedCommands.join(', ')} and what belongs to it`)
    .wholeOption('--nproc <n>', 'processes on this machine', { least: 1, most: mostThreads() }, REQUIRED)
    .wholeOption('--nnodes <n>', 'machines', { least: 1, most: 65_536 }, 1)
    .wholeOption('--node-rank <n>', 'which of the machines this is, from 0', { least: 0 }, 0)
    .option('--master-addr <address>', 'address of machine 0 (default: this machine)')
    .wholeOption('--master-port <port>', 'a free port there (one machine needs none)', { least: 1, most: 65_535 })
    .addOption(new Option('--rdzv-secret <file>', SECRET).env('MIXBCT_RDZV_SECRET_FILE'))
    .action(async (words: readonly string[], options: LaunchOptions) => {
      checkLaunch(words, options);
      const { launchProcesses } = await import('../launch/launch-processes.ts');
      await launchProcesses(words, options);
    });
