export { AdamW, type AdamWOptions } from './adamw.ts';
export { clipGradients } from './clip.ts';
export { type Optimizer, clearGradients } from './optimizer.ts';
export { type Schedule, constant, cosine, polynomial, stepDecay } from './schedules.ts';
export { Sgd, type SgdOptions } from './sgd.ts';
