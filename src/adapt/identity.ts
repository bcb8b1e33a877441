import type { Candidate } from './candidate.ts';

/** y = x: embeddings as they are. What a model that was trained compatibly needs. */
export const identity: Candidate = {
  method: 'identity',
  sameDims: true,
  fit: () => ({ map: {}, settings: {} }),
};
