export { backboneEncoder, type EmbeddingModules, type EmbeddingOptions, embedWith } from './backbone-encoder.ts';
export type { Encoder, ModelIdentity, Space, TrainingDataset } from './encoder.ts';
export { readImages } from './read-images.ts';
