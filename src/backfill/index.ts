export { type BackfillInfo, backfillArtifact } from './backfill-artifact.ts';
export { type BackfillOrder, openBackfillOrder } from './order-file.ts';
export { type SimulateOptions, type SimulationResult, simulateBackfill } from './simulate.ts';
export type { BackfillCurve, BackfillEnds, BackfillOrderName, BackfillSimulation, ScoreMerge } from './simulation.ts';
