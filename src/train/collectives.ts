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
  type Tensor,
  tensor,
  toNumbers,
  zeros,
} from '../torch/index.ts';
import { type Session, sessionState } from './session.ts';

/** Calls `body` where one process may; all get its result. */
export const onRankZero = <T>(distributed: DistributedContext | null, body: () => T): T =>
  distributed ? distributed.broadcastFromRankZero(body) : body();

/** b, what each process has of a batch. @throws UserError if they cannot have equal shares, or those no equal parts. */
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
      `each of ${processes} processes has ${share} images of a batch, which do not make ${accumulate} parts`,
      {
        hint: 'set accumulate to a divisor of that: every process takes its share in so many parts',
      },
    );
  return share;
}

/** Sums of numbers over the processes. */
export function allReduceSum(group: ProcessGroup, numbers: readonly number[]): readonly number[] {
  if (group.processes === 1) return numbers;
  return scope(() => toNumbers(group.sum(tensor(Float64Array.from(numbers)))));
}

/** Whether any process says yes: all stop at one step. */
export const allReduceAny = (group: ProcessGroup, says: boolean): boolean =>
  allReduceSum(group, [Number(says)])[0]! > 0;

type NamedTensors = readonly (readonly [string, Tensor])[];
type NameFilter = (name: string) => boolean;

/** The tensors of a session of which this process holds only the rows of its classes: the head's weight and its moments. */
function sharded({ head, optimizer }: Session): ReadonlySet<Tensor> {
  return new Set(head.shard ? [head.weight, ...optimizer.statesOf(head.weight)] : []);
}

/**
 * Hands `use` the session's state (of names that `only` takes) with every tensor whole, on the first process; all get its
 * result. What lies in shards is one matrix there, so that no file tells how many processes there were.
 */
export function withWholeState<T>(
  session: Session,
  distributed: DistributedContext | null,
  use: (state: NamedTensors) => T,
  only: NameFilter = () => true,
): T {
  const state = [...sessionState(session)].filter(([name]) => only(name));
  if (!distributed) return use(state);
  const parts = sharded(session);
  return scope(() => {
    const whole = noGrad(() =>
      state.map(
        ([name, value]) => [name, parts.has(value) ? gatherShards(session, distributed.group, value) : value] as const,
      ),
    );
    return distributed.broadcastFromRankZero(() => use(whole));
  });
}

/** `read` fills the whole state on the first process; each process then has its part of it. All get the result. */
export function readWholeState<T>(
  session: Session,
  distributed: DistributedContext | null,
  read: (state: NamedTensors) => T,
): T {
  const state = [...sessionState(session)];
  if (!distributed) return read(state);
  const parts = sharded(session);
  return scope(() => {
    const whole =
      distributed.group.rank === 0
        ? state.map(([name, value]) => [name, parts.has(value) ? zerosOfWhole(session, value) : value] as const)
        : state;
    const result = distributed.broadcastFromRankZero(() => read(whole));
    noGrad(() => {
      for (const [i, [, value]] of state.entries())
        if (parts.has(value)) scatterShards(session, distributed.group, value, whole[i]![1]);
    });
    broadcastState(session, distributed);
    return result;
  });
}

/** Gives every process what the first one has of all that each holds whole: parameters, running statistics, queues. */
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

/** A tensor of the whole matrix's shape of which `part` holds rows. */
const zerosOfWhole = ({ head }: Session, part: Tensor): Tensor =>
  zeros([head.shard!.of, ...part.shape.slice(1)], { dtype: part.dtype, device: part.device });

/** Rows of the whole matrix that a process holds; they are contiguous, so that messages can be written into them. */
const rowsOf = ({ head }: Session, { processes }: C10dProcessGroup, whole: Tensor, rank: number): Tensor => {
  const { start, count } = shardOf(head.shard!.of, { processes, rank });
  return narrow(whole, 0, start, count);
};

/** The whole matrix on the first process; elsewhere the part. */
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

/** The other way round. */
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
