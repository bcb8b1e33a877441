import { eer } from './eer.ts';
import type { Metric, ProtocolKind } from './metric.ts';
import { rankK } from './rank-k.ts';
import { tarAtFar } from './tar-at-far.ts';
import { tpirAtFpir } from './tpir-at-fpir.ts';

/** Every metric, in the order of verdicts and tables. */
export const metrics: readonly Metric[] = [
  tarAtFar(1e-3, { verdictIn: ['labelled set'], summary: true }),
  tarAtFar(1e-4, { verdictIn: ['templates'], summary: true }),
  tarAtFar(1e-5, { verdictIn: ['templates'], column: false }),
  tarAtFar(1e-2),
  eer,
  rankK(1),
  rankK(5),
  tpirAtFpir(1e-1),
  tpirAtFpir(1e-2),
];

/** Whether verdicts of such a protocol use a metric. */
export const judges = ({ verdict }: Metric, protocol: ProtocolKind): boolean =>
  verdict?.protocols.includes(protocol) ?? false;
