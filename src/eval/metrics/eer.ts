import { equalErrorRate } from '../roc.ts';
import type { Metric } from './metric.ts';

export const eer = {
  name: 'EER',
  term: 'EER',
  meaning: 'error rate where false accepts and false rejects are equally frequent',
  column: 'EER',
  stored: ({ verification }) => verification?.eer,
  test: 'verification',
  measure: ({ curve }) => ({ value: equalErrorRate(curve), replicates: null }),
} satisfies Metric;
