export {
  type AdapterInfo,
  type AdapterMethod,
  adapterArtifact,
  adapterFile,
  adapterMethods,
  methodText,
  resultText,
} from './adapter-artifact.ts';
export { type AdapterMap, mapFlat } from './adapter-map.ts';
export { type AdapterFit, adapterMetrics, candidates, type FitOptions, fitAdapter, testRows } from './fit-adapter.ts';
export { Adapter } from './open-adapter.ts';
export type { PairedRows } from './paired-rows.ts';
export { pairedRows, rowsOfBoth } from './paired-sets.ts';
