import { UserError } from '../base/errors.ts';
import { shardOf } from '../heads/index.ts';
import type { Recipe } from '../runs/recipe.ts';
import {
  type C10dProcessGroup,
  clone,
  contiguous,
  copy_,
  type DistributedContext,
  narrow,
  noGrad,
  type ProcessGroup,
  scope,
  sum,
  type Tensor,
  tensor,
  toNumbers,
  zeros,
} from '../torch/index.ts';
import { type Session, sessionState } from './session.ts';

/** b, the images of a batch per process. @throws UserError if the batch does not divide into equal shares and these into equal parts. */
export function batchShare(
  { batchSize, accumulate }: Pick<Recipe, 'batchSize' | 'accumulate'>,
  { processes }: ProcessGroup,
): number {
  if (batchSize % processes !== 0)
    throw new UserError(`batchSize ${batchSize} does not divide among ${processes} processes`, {
      hint: `batchSize counts over all processes: set it to a multiple of ${processes}`,
    });
  const share = batchSize / processes;
  if (share % accumulate !== 0)
    throw new UserError(
      `each of ${processes} processes has ${share} images of a batch: ${accumulate} equal parts are impossible`,
      {
        hint: `set accumulate to a divisor of ${share}: every process splits its share of a batch into that many parts`,
      },
    );
  return share;
}

/** Sums numbers over the processes, one by one. */
export function allReduceSum(group: ProcessGroup, numbers: readonly number[]): readonly number[] {
  if (group.processes === 1) return numbers;
  return scope(() => toNumbers(group.sum(tensor(Float64Array.from(numbers)))));
}

/** How many of the positions 0 … N−1 any process names. Over several epochs, processes meet the same images. */
export function countOnce(group: ProcessGroup, positions: readonly number[], N: number): number {
  if (group.processes === 1) return new Set(positions).size;
  if (!allReduceAny(group, positions.length > 0)) return 0;
  const named = new Uint8Array(N);
  for (const position of positions) named[position] = 1;
  return scope(() => sum(group.max(tensor(named))).item());
}

/** Whether `flag` is set in any process. */
export const allReduceAny = (group: ProcessGroup, flag: boolean): boolean =>
  allReduceSum(group, [Number(flag)])[0]! > 0;

type NamedTensors = readonly (readonly [string, Tensor])[];
type NameFilter = (name: string) => boolean;

/** The session's sharded tensors: the head's weight and its moments, of which each process holds the rows of its classes. */
function sharded({ head, optimizer }: Session): ReadonlySet<Tensor> {
  return new Set(head.shard ? [head.weight, ...optimizer.statesOf(head.weight)] : []);
}

/**
 * Calls `use` on rank 0 with the session's state, restricted to the names that `only` accepts. Every process gets its result.
 * Shards are gathered into one matrix, so that files do not depend on the number of processes.
 */
export function withFullState<T>(
  session: Session,
  distributed: DistributedContext | null,
  use: (state: NamedTensors) => T,
  only: NameFilter = () => true,
): T {
  const state = [...sessionState(session)].filter(([name]) => only(name));
  if (!distributed) return use(state);
  const parts = sharded(session);
  return scope(() => {
    const whole = noGrad(() => gathered(session, distributed.group, state, parts));
    return distributed.broadcastFromRankZero(() => use(whole));
  });
}

/** `read` writes into the whole state on rank 0; then every process receives its part. Every process gets the result of `read`. */
export function loadFullState<T>(
  session: Session,
  distributed: DistributedContext | null,
  read: (state: NamedTensors) => T,
): T {
  const state = [...sessionState(session)];
  if (!distributed) return read(state);
  const parts = sharded(session);
  return scope(() => {
    const whole = noGrad(() => gathered(session, distributed.group, state, parts));
    const result = distributed.broadcastFromRankZero(() => read(whole));
    noGrad(() => {
      for (const [i, [, value]] of state.entries())
        if (parts.has(value)) scatterShards(session, distributed.group, value, whole[i]![1]);
    });
    broadcastState(session, distributed);
    return result;
  });
}

/** The state with whole matrices instead of shards on rank 0. */
const gathered = (
  session: Session,
  group: C10dProcessGroup,
  state: NamedTensors,
  shards: ReadonlySet<Tensor>,
): NamedTensors =>
  state.map(([name, value]) => [name, shards.has(value) ? gatherShards(session, group, value) : value] as const);

/** Broadcasts rank 0's values of all replicated tensors: parameters, running statistics, queues. */
export function broadcastState(session: Session, distributed: DistributedContext | null): void {
  if (!distributed) return;
  const parts = sharded(session);
  for (const [, value] of sessionState(session))
    if (!parts.has(value))
      scope(() =>
        noGrad(() => {
          const sent = contiguous(clone(value));
          distributed.group.broadcast(sent).wait();
          copy_(value, sent);
        }),
      );
}

/** Zeros in the shape of the whole matrix of which `part` is a shard. */
const zerosOfWhole = ({ head }: Session, part: Tensor): Tensor =>
  zeros([head.shard!.of, ...part.shape.slice(1)], { dtype: part.dtype, device: part.device });

/** A view of the rows of the whole matrix that a process holds. It is contiguous, so collectives can write into it. */
const rowsOf = ({ head }: Session, { processes }: C10dProcessGroup, whole: Tensor, rank: number): Tensor => {
  const { start, count } = shardOf(head.shard!.of, { processes, rank });
  return narrow(whole, 0, start, count);
};

/** The whole matrix on rank 0; elsewhere the shard itself. */
function gatherShards(session: Session, group: C10dProcessGroup, part: Tensor): Tensor {
  if (group.rank > 0) {
    if (part.numel > 0) group.send(part, 0).wait();
    return part;
  }
  const whole = zerosOfWhole(session, part);
  copy_(rowsOf(session, group, whole, 0), part);
  for (let rank = 1; rank < group.processes; rank++) {
    const rows = rowsOf(session, group, whole, rank);
    if (rows.numel > 0) group.receive(rows, rank).wait();
  }
  return whole;
}

/** Sends each process its rows of rank 0's `whole`. */
function scatterShards(session: Session, group: C10dProcessGroup, part: Tensor, whole: Tensor): void {
  if (group.rank > 0) {
    if (part.numel > 0) group.receive(part, 0).wait();
    return;
  }
  copy_(part, rowsOf(session, group, whole, 0));
  for (let rank = 1; rank < group.processes; rank++) {
    const rows = rowsOf(session, group, whole, rank);
    if (rows.numel > 0) group.send(rows, rank).wait();
  }
}
