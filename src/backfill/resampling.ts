import { numberClasses } from '../data/number-classes.ts';
import { impostorWeights, pairCounts, type Resamples, resampleIdentities } from '../eval/bootstrap.ts';
import { evaluationRng, type LabelledSetProtocol } from '../eval/labelled-set-protocol.ts';

/** Resamples of the identities, which evaluations with the same seed draw, too. */
export type Resampling = {
  readonly drawn: Resamples;
  /** Weight of all impostor pairs in each resample. [R] */
  readonly totals: Float64Array;
  /** Position of each row's identity in the resamples. [N] */
  readonly identity: Int32Array;
};

export function drawResampling({ labels, pairs }: LabelledSetProtocol, resamples: number, seed: number): Resampling {
  const { labels: identity, classes } = numberClasses(labels);
  const drawn = resampleIdentities(classes, resamples, evaluationRng(seed).split('bootstrap'));
  const { gallery, query } = pairs.impostor;
  const sides = { a: gallery.map((row) => identity[row]!), b: query.map((row) => identity[row]!) };
  return { drawn, totals: impostorWeights(pairCounts(sides, classes), drawn), identity };
}
