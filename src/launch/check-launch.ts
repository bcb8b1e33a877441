import { UserError } from '../base/errors.ts';
import { launchedCommands } from './launched-commands.ts';

export type LaunchOptions = {
  readonly nproc: number;
  readonly nnodes: number;
  readonly nodeRank: number;
  readonly masterAddr?: string;
  readonly masterPort?: number;
  readonly rdzvSecret?: string;
  /** Gets each line that the processes print; default: standard output and error of this one. */
  readonly say?: (line: string) => void;
  /** Stops them in order when it fires; without it signals of the system do. */
  readonly signal?: AbortSignal;
};

/** @throws UserError naming the option that does not fit. */
export function checkLaunch(
  words: readonly string[],
  { nnodes, nodeRank, masterAddr, masterPort, rdzvSecret }: Omit<LaunchOptions, 'nproc' | 'say' | 'signal'>,
  env: NodeJS.ProcessEnv = process.env,
): void {
  if (!launchedCommands.some((command) => command.split(' ').every((word, i) => words[i] === word)))
    throw new UserError(`launch runs ${launchedCommands.join(', ')}, not ${words.slice(0, 2).join(' ')}`, {
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
