export type { Enrolment } from '../data/index.ts';
export {
  type Calibration,
  type ChosenCalibration,
  calibrate,
  calibrateOne,
  type IsotonicCalibration,
  type PlattCalibration,
  probabilityOf,
} from './calibration.ts';
export { compare, compatibilityScores, differenceOf, estimateOf, updateGain } from './compatibility.ts';
export { OPERATING_FAR, RESAMPLES, SAMPLE_SIZES } from './defaults.ts';
export { createTestRunner, type EvaluateOptions, evaluate, type ModelFeatures, type RowSource } from './evaluate.ts';
export {
  type EvaluateTemplatesOptions,
  evaluateTemplates,
  type PairBlock,
  type TemplateModel,
  type TemplateProtocol,
} from './evaluate-templates.ts';
export type {
  Band,
  CandidateResult,
  Change,
  ChangedPair,
  ChangedSearch,
  Comparison,
  CrossingAdapter,
  DecisionChanges,
  DropInTest,
  EmbeddingMap,
  Estimate,
  Evaluation,
  IdentificationResult,
  JudgedMetric,
  Measured,
  OperatingPointResult,
  PairChanges,
  ScoreHistogram,
  SearchChanges,
  TestResult,
  VerificationResult,
  WithheldVerdict,
} from './evaluation.ts';
export { defaultMemory, type EvaluationSize, evaluationBytes, memoryError } from './evaluation-memory.ts';
export { chooseCalibration, fitIsotonic, fitPlatt, logLoss } from './fit-calibration.ts';
export {
  CMC_RANKS,
  type Cmc,
  cumulativeMatchCurve,
  FPIR_CURVE,
  FPIR_TARGETS,
  hitRate,
  nonMatedScores,
  RANKS,
  type Searches,
  thresholdAtFpir,
  tpir,
} from './identification.ts';
export { type Identities, identificationSplit, verificationPairs } from './labelled-set-protocol.ts';
export { requireDistinctNames } from './model-names.ts';
export {
  type FoldedAccuracy,
  foldedAccuracy,
  packEmbeddings,
  pairDistances,
  requireFoldablePairs,
} from './pack-accuracy.ts';
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
export { requireFewZeros, unitEmbeddings, zeroRows } from './scores.ts';
export { search } from './search-tally.ts';
export {
  type FaceEmbeddings,
  type FaceImages,
  poolTemplates,
  type Templates,
  templatePositions,
  templateScores,
} from './templates.ts';
export { allowsSearch, pairOf, readThresholds, thresholdsOf } from './thresholds.ts';
export type { ThresholdPair, Thresholds } from './thresholds-schema.ts';
export { type KnownData, relateTrainingData, shareImages, type TrainingData } from './training-data.ts';
export { withholdVerdicts } from './withhold-verdicts.ts';
