import { type Command, Option } from 'commander';
import { UserError } from '../base/errors.ts';
import type { LaunchOptions } from '../launch/launch-processes.ts';
import { group } from './context.ts';
import { mostThreads, wholeOption } from './options.ts';

/** Commands that know what to do with several processes. */
const COMMANDS = ['train', 'extract', 'evaluate ijb'];

export function launchCommand(): Command {
  return group(
    'launch',
    'run a command as several processes that work together',
    'mixbct launch --nproc 8 -- train recipes/glyphs/old.yaml --data data/k12/k12_32_train --out runs/old\n' +
      'mixbct launch --nproc 8 --nnodes 2 --node-rank 0 --master-addr 10.0.0.1 --master-port 29500 --rdzv-secret secret.txt -- train …',
  )
    .argument('<command...>', `after --: ${COMMANDS.join(', ')} and what belongs to it`)
    .addOption(
      wholeOption('--nproc <n>', 'processes on this machine', { least: 1, most: mostThreads() }).makeOptionMandatory(),
    )
    .addOption(wholeOption('--nnodes <n>', 'machines', { least: 1, most: 65_536 }, 1))
    .addOption(wholeOption('--node-rank <n>', 'which of the machines this is, from 0', { least: 0 }, 0))
    .option('--master-addr <address>', 'address of machine 0 (default: this machine)')
    .addOption(
      wholeOption('--master-port <port>', 'a free port there (one machine needs none)', { least: 1, most: 65_535 }),
    )
    .addOption(
      new Option(
        '--rdzv-secret <file>',
        'file with a secret that the processes on several machines share (or MIXBCT_RDZV_SECRET)',
      ).env('MIXBCT_RDZV_SECRET_FILE'),
    )
    .action(async (words: readonly string[], options: LaunchOptions) => {
      checkLaunch(words, options);
      const { launchProcesses } = await import('../launch/launch-processes.ts');
      await launchProcesses(words, options);
    });
}

/** @throws UserError naming the option that does not fit. */
export function checkLaunch(
  words: readonly string[],
  { nnodes, nodeRank, masterAddr, masterPort, rdzvSecret }: Omit<LaunchOptions, 'nproc'>,
  env: NodeJS.ProcessEnv = process.env,
): void {
  if (!COMMANDS.some((command) => command.split(' ').every((word, i) => words[i] === word)))
    throw new UserError(`launch runs ${COMMANDS.join(', ')}, not ${words.slice(0, 2).join(' ')}`, {
      hint: 'mixbct launch --nproc 2 -- train …',
    });
  if (nodeRank >= nnodes)
    throw new UserError(`--node-rank ${nodeRank} with --nnodes ${nnodes}: machines count from 0 to ${nnodes - 1}`);
  if (nnodes > 1 && (masterAddr === undefined || masterPort === undefined))
    throw new UserError('several machines have to be told where to meet', {
      hint: 'give each the same --master-addr and --master-port, those of machine 0',
    });
  if (nnodes > 1 && rdzvSecret === undefined && env['MIXBCT_RDZV_SECRET'] === undefined)
    throw new UserError('several machines need a secret by which their processes know each other', {
      hint: 'openssl rand -hex 32 > secret.txt && chmod 600 secret.txt, copy it to each, and pass --rdzv-secret secret.txt',
    });
}
