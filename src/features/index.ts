export {
  type DatasetReference,
  datasetReference,
  referenceTo,
  requireSameDataset,
  requireSameSource,
  type Sourced,
} from './artifact.ts';
export { average, openPrototypes, type PrototypesInfo, writePrototypes } from './average.ts';
export {
  type BoundariesInfo,
  boundaries,
  type ClassBoundaries,
  openBoundaries,
  writeBoundaries,
} from './boundaries.ts';
export { type ClassKeys, classKeysOf, readClassKeys, trainedClassesPath, writeClassKeys } from './class-keys.ts';
export { type CredibleInfo, type DenoiseOptions, denoise, openCredible, writeCredible } from './denoise.ts';
export { credibleByEntropy } from './entropy.ts';
export { type Embedder, type ExtractOptions, embedFaces, extractFeatures } from './extract.ts';
export {
  FeatureSet,
  type FeaturesInfo,
  type Preprocessing,
  requireSamePreprocessing,
} from './feature-set.ts';
export { type FeatureSetContent, writeFeatureSet } from './feature-set-writer.ts';
export { lostClasses, rowsByClass } from './groups.ts';
export { importNpy, type NpyImport } from './import.ts';
export type { MissingRow } from './missing.ts';
export { NpyFile, NpyWriter, readNpy, writeNpy } from './npy.ts';
export { writeNpz } from './npz.ts';
export { claimedByRankZero, extractSharded, type ShardedExtraction } from './sharded-extraction.ts';
