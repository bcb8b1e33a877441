export { AdamW, type AdamWOptions } from './adamw.ts';
export { clipGradients, gradientNorm } from './clip.ts';
export { LossScaler, type LossScalerOptions } from './loss-scaler.ts';
export { type ChosenRows, clearGradients, type LrFactor, type Optimizer } from './optimizer.ts';
export { constant, cosine, polynomial, type Schedule, stepDecay } from './schedules.ts';
export { Sgd, type SgdOptions } from './sgd.ts';
