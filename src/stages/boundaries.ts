import { defineStage, reference } from '../experiment/stage.ts';
import { type FromFeatures, fromFeatures } from './from-features.ts';

/** Measures how far the features of each class lie from their centre. */
export const measureBoundaries = ({ features, out, force = false }: FromFeatures) =>
  fromFeatures(features, ({ writeBoundaries }, set) => writeBoundaries(out, set, { force }));

export const boundariesStage = defineStage({
  kind: 'boundaries',
  summary: 'measure how far the old features of each class lie from their centre',
  inputs: { features: reference },
  options: {},
  describe: ({ features }) => `draw boundaries around the classes of ${features}`,
  run: ({ features }, { out, force }) => measureBoundaries({ features, out, force }),
});
