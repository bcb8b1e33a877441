export { type Estimate } from './bootstrap.ts';
export { type Comparison, compatibilityScores, updateGain } from './compatibility.ts';
export { type CandidateResult, evaluate, type EvaluateOptions, type Evaluation, HEADLINES, type ModelFeatures, type TestResult } from './evaluate.ts';
export { alarmThreshold, alarms, FPIR_CURVE, FPIR_TARGETS, RANKS, search, type Searches, topRank, tpir } from './identification.ts';
export { identificationSplit, type Identities, verificationPairs } from './protocol.ts';
export { auc, equalErrorRate, FAR_TARGETS, roc, type Roc, tarAtMost, tarNearest } from './roc.ts';
