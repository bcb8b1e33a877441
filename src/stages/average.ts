import { defineStage, reference } from '../experiment/stage.ts';
import { type FromFeatures, fromFeatures } from './from-features.ts';

/** Averages features into one prototype for each class. */
export const averageFeatures = ({ features, out, force = false }: FromFeatures) =>
  fromFeatures(features, ({ writePrototypes }, set) => writePrototypes(out, set, { force }));

export const averageStage = defineStage({
  kind: 'average',
  summary: 'average old features into one prototype for each class',
  inputs: { features: reference },
  options: {},
  describe: ({ features }) => `average ${features}`,
  run: ({ features }, { out, force }) => averageFeatures({ features, out, force }),
});
