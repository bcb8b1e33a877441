import type { ClassKeys } from '../data/class-keys.ts';
import type { DatasetReference } from '../data/dataset-reference.ts';
import type { ModelInput } from '../data/model-input.ts';
import type { Precision } from '../models/precisions.ts';

/** `old`: the space of the old model, which a projection leads to. */
export type Space = 'own' | 'old';

/** The data that a model was trained on, and the keys of its classes if they were kept. */
export type TrainingDataset = { readonly dataset: DatasetReference; readonly classKeys: ClassKeys | null };

/** The weights of a model and where they come from, as feature sets record them. */
export type ModelIdentity = {
  readonly name: string;
  /** Equal digests: equal embeddings of equal pixels, but for device and precision. Another space has another digest. */
  readonly digest: string;
  /** Preset of the recipe that it was trained with, and where that recipe differs from the reference. */
  readonly preset: string;
  readonly differences: readonly string[];
  /** Null if it is not known. */
  readonly trainedOn: TrainingDataset | null;
};

/** Turns images into embeddings, whatever computes them. Dispose it after use. */
export type Encoder = ModelIdentity &
  ModelInput &
  Disposable & {
    readonly space: Space;
    /** D */
    readonly dim: number;
    /** Height and width of its images in pixels. */
    readonly side: number;
    /** `cpu`, `cuda:0` */
    readonly device: string;
    readonly precision: Precision;
    /** `count` images, bytes [B, side, side, 3] in RGB → embeddings [B · D], not normalised, an array of their own. */
    embed(images: Uint8Array, count: number): Promise<Float32Array>;
  };
