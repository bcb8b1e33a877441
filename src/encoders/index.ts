export { backboneEncoder, type EmbeddingModules, type EmbeddingOptions, embedWith } from './backbone-encoder.ts';
export type { Encoder, ModelIdentity, Space, TrainingDataset } from './encoder.ts';
export { fasterPrecision, LEAST_COSINE } from './faster-precision.ts';
export { readImages } from './read-images.ts';
