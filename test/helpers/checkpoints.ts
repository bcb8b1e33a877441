import { resolve } from 'node:path';
import { golden } from './golden.ts';

/** A checkpoint that PyTorch wrote, and what its network makes of fill((2, 3, side, side), 0, 0.01) in PyTorch. */
export type CheckpointFixture = {
  readonly file: string;
  readonly network: string;
  readonly embeddingDim: number;
  readonly side: number;
  readonly width: number;
  /** Entries of the state but for `num_batches_tracked`. */
  readonly entries: number;
  /** [2][embeddingDim] */
  readonly embeddings: readonly (readonly number[])[];
  /** Entries that belong to training only. */
  readonly leftOut: readonly string[];
};

export type TensorFixture = { readonly shape: readonly number[]; readonly numbers: readonly number[] };

/** What test/golden/make_state_dicts.py wrote. */
export const checkpoints: {
  readonly networks: readonly CheckpointFixture[];
  readonly tensors: Readonly<Record<string, TensorFixture>>;
} = golden('state_dicts.json');

/** What test/golden/make_checkpoints.py wrote: other objects, prefixes, formats and float types. */
export const oddCheckpoints: {
  readonly networks: readonly CheckpointFixture[];
  readonly views: Readonly<Record<string, TensorFixture>>;
} = golden('checkpoints.json');

export const oddCheckpointPath = (file: string): string =>
  resolve(import.meta.dirname, '../../../test/golden/checkpoints', file);

export const checkpointPath = (file: string): string =>
  resolve(import.meta.dirname, '../../../test/golden/state_dicts', file);

/** The TorchScript file that test/golden/make_scripted.py wrote. */
export const scriptedPath = resolve(import.meta.dirname, '../../../test/golden/scripted.pt');
/** The same network with norms of single images, as test/golden/make_scripted_norms.py wrote it. */
export const scriptedNormsPath = resolve(import.meta.dirname, '../../../test/golden/scripted_norms.pt');
/** A TorchScript file with an operator that no libtorch has, as test/golden/make_unknown_operator.py wrote it. */
export const unknownOperatorPath = resolve(import.meta.dirname, '../../../test/golden/unknown_operator.pt');
