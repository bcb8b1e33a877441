import type { StageKind } from '../experiment/stage.ts';
import { applyAdapterStage, fitAdapterStage } from './adapter-stages.ts';
import { averageStage } from './average.ts';
import { boundariesStage } from './boundaries.ts';
import { denoiseStage } from './denoise.ts';
import { embedStage } from './embed.ts';
import { evaluateStage } from './evaluate.ts';
import { exportStage } from './export.ts';
import { extractStage } from './extract.ts';
import { getStage } from './get.ts';
import { holdOutStage } from './hold-out.ts';
import { planStage } from './plan.ts';
import { rollOutStage } from './roll-out.ts';
import { sampleStage } from './sample.ts';
import { simulateBackfillStage } from './simulate-backfill.ts';
import { splitStage } from './split.ts';
import { trainStage } from './train.ts';

/** Every kind of stage. To add one: write its file, and add it here. */
export const stages: readonly StageKind[] = [
  getStage,
  holdOutStage,
  sampleStage,
  splitStage,
  trainStage,
  extractStage,
  embedStage,
  denoiseStage,
  averageStage,
  boundariesStage,
  fitAdapterStage,
  applyAdapterStage,
  evaluateStage,
  simulateBackfillStage,
  planStage,
  rollOutStage,
  exportStage,
];
