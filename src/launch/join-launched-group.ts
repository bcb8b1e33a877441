import { UserError } from '../base/errors.ts';
import {
  type DistributedContext,
  dieWithParent,
  hasNccl,
  joinProcessGroup,
  rankInfoOf,
  setDefaultDevice,
} from '../torch/index.ts';
import { LAUNCHER } from '../torch/variables.ts';

/** A number of seconds in a variable of the environment, in milliseconds. */
function secondsFrom(name: string): number | undefined {
  const text = process.env[name];
  if (text === undefined) return undefined;
  if (!(Number(text) > 0)) throw new UserError(`${name}=${text}: wanted a number of seconds above 0`);
  return Number(text) * 1000;
}

/**
 * Takes the device, and meets the other processes, if the environment names any (docs/cluster.md); null if this one is
 * alone. A process that `mixbct launch` started ends with it.
 */
export function joinLaunchedGroup(kind: 'cpu' | 'cuda'): DistributedContext | null {
  const launcher = process.env[LAUNCHER];
  if (launcher !== undefined) {
    dieWithParent();
    if (process.ppid !== Number(launcher)) process.exit(1); // it has gone already
  }
  const place = rankInfoOf(process.env);
  setDefaultDevice(kind === 'cuda' ? `cuda:${place?.localRank ?? 0}` : 'cpu');
  if (!place) return null;
  const [joinTimeoutMs, timeoutMs] = [secondsFrom('MIXBCT_JOIN_SECONDS'), secondsFrom('MIXBCT_TIMEOUT_SECONDS')];
  const cuda = kind === 'cuda' && hasNccl();
  if (kind === 'cuda' && !cuda)
    throw new UserError('several processes on CUDA devices need an addon with NCCL', {
      hint: 'docs/cluster.md says how to build it',
    });
  return joinProcessGroup(place, { cuda, ...(joinTimeoutMs && { joinTimeoutMs }), ...(timeoutMs && { timeoutMs }) });
}
