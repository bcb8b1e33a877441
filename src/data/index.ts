export type { Augmentation } from './augment.ts';
export { type ClassKeys, classKeysOf } from './class-keys.ts';
export { alignedDataset, cropFilesDigest, cropsChangedMs, cropsDigest } from './crops.ts';
export type { Dataset } from './dataset.ts';
export { type DatasetInfo, datasetInfoLines, describeDataset, describeEmptyClasses } from './dataset-info.ts';
export {
  type DatasetReference,
  datasetReference,
  referenceTo,
  requireSameDataset,
} from './dataset-reference.ts';
export type { GetResult } from './get-set.ts';
export {
  type GlyphSetName,
  getGlyphs,
  glyphPrefix,
  glyphSetNames,
  glyphSources,
} from './glyphs/index.ts';
export { getIcons, iconSources } from './icons/index.ts';
export {
  type Enrolment,
  type Ijb,
  type IjbIdentification,
  type IjbSubset,
  openIjb,
} from './ijb.ts';
export { importDataset, importResultLines } from './import-dataset.ts';
export type { IjbImages, IjbPairs } from './list-cache.ts';
export { type BadImage, type Batch, type EpochOptions, Loader } from './loader.ts';
export { type ModelInput, modelInput } from './model-input.ts';
export { openDataset } from './open-dataset.ts';
export { type Pack, packDataset, readPack } from './packs.ts';
export {
  type PixelMapping,
  type PixelMappingName,
  pixelMappings,
  pixelPresets,
  type Resize,
  stretched,
} from './pixels.ts';
export { sequentialOrder, shuffledOrder } from './sampler.ts';
export { NO_FAMILY } from './sidecar.ts';
export { describeSkippedFiles, type SkippedFiles } from './skipped-files.ts';
export { holdOut, sampleImages, split, type WrittenPart } from './split.ts';
