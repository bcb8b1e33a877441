export { compatibilityScores, updateGain } from './compatibility.ts';
export { DRAWN, RESAMPLES } from './drawn.ts';
export { type EvaluateOptions, evaluate, type ModelFeatures, type RowSource } from './evaluate.ts';
export type {
  CandidateResult,
  Comparison,
  Estimate,
  Evaluation,
  IdentificationResult,
  TestResult,
  VerificationResult,
  Withheld,
} from './evaluation.ts';
export type { Enrolment } from './gallery-search.ts';
export {
  alarms,
  alarmThreshold,
  CMC_RANKS,
  type Cmc,
  cumulativeMatches,
  FPIR_CURVE,
  FPIR_TARGETS,
  RANKS,
  type Searches,
  search,
  topRank,
  tpir,
} from './identification.ts';
export {
  evaluateTemplates,
  type PairBlock,
  type TemplateEvaluation,
  type TemplateModel,
  type TemplateProtocol,
} from './ijb.ts';
export { defaultMemory, type EvaluationSize, evaluationBytes } from './memory.ts';
export { requireDistinctNames } from './names.ts';
export { type Identities, identificationSplit, verificationPairs } from './protocol.ts';
export {
  auc,
  equalErrorRate,
  FAR_TARGETS,
  type Roc,
  roc,
  type Scores,
  scoresByIdentity,
  tarAtMost,
  tarNearest,
} from './roc.ts';
export { requireFewZeros, zeroRows } from './scores.ts';
export {
  type FaceEmbeddings,
  type FaceImages,
  poolTemplates,
  type Templates,
  templatePositions,
  templateScores,
} from './templates.ts';
export { type KnownData, relateTrainingData, type TrainingData } from './training-data.ts';
export { withholdVerdicts } from './verdict.ts';
export {
  type FoldedAccuracy,
  foldedAccuracy,
  packEmbeddings,
  pairDistances,
  requireFoldablePairs,
} from './verification.ts';
