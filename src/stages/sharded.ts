import type { ShardedExtraction } from '../features/index.ts';
import type { DistributedContext } from '../torch/index.ts';

/** The processes that extract together, as extraction sees them. */
export const shardedExtractionOf = (distributed: DistributedContext): ShardedExtraction => ({
  rank: distributed.group.rank,
  processes: distributed.group.processes,
  broadcastFromRankZero: (body) => distributed.broadcastFromRankZero(body),
  barrier: () => distributed.group.barrier().wait(),
});
