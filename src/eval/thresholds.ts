import { isDeepStrictEqual } from 'node:util';
import { readJson } from '../artifacts/json-file.ts';
import { FileError, UserError } from '../base/errors.ts';
import { version } from '../base/version.ts';
import { type Calibration, calibrateOne } from './calibration.ts';
import type { CrossingAdapter, Evaluation } from './evaluation.ts';
import { type ThresholdPair, type Thresholds, thresholdsSchema } from './thresholds-schema.ts';

/** The thresholds and calibrations of evaluations; `paths` name them in messages. @throws UserError if one has none. */
export function thresholdsOf(
  evaluations: readonly { readonly path: string; readonly evaluation: Evaluation }[],
): Thresholds {
  return {
    kind: 'thresholds',
    version: 1,
    mixbct: version,
    evaluations: evaluations.map(({ path, evaluation }) => {
      const { title, dataset, operatingPoint, models, candidates, tests } = evaluation;
      if (!operatingPoint)
        throw new UserError(
          `${path}: has no figures at the old threshold, because it was made by an earlier version, or without an old model or pairs`,
          { hint: 'make it again with: mixbct evaluate, or mixbct evaluate ijb with an old model and 1:1' },
        );
      const old = models.find(({ role }) => role === 'old')?.name;
      const modelOf = (name: string) => models.find((model) => model.name === name);
      return {
        title,
        dataset: { path: dataset.path, digest: dataset.digest },
        far: operatingPoint.far,
        oldThreshold: finite(operatingPoint.threshold),
        pairs: tests.flatMap(({ query, gallery, operatingPoint: measured }): ThresholdPair[] => {
          if (!measured) return [];
          const { atOldThreshold, keepingFar, calibration: chosen } = measured;
          const { tar, far, tpir, fpir } = atOldThreshold;
          const [queryModel, galleryModel] = [modelOf(query)?.digest, modelOf(gallery)?.digest];
          const { adapter, projection } = (gallery === old && modelOf(query)) || {};
          const grade = gallery === old ? candidates.find(({ name }) => name === query)?.dropIn?.grade : undefined;
          const { threshold, ...atThreshold } = keepingFar;
          return [
            {
              query,
              gallery,
              ...(queryModel !== undefined && { queryModel }),
              ...(galleryModel !== undefined && { galleryModel }),
              ...(projection !== undefined && { projection }),
              ...(adapter && { adapter: keyOf(adapter) }),
              ...(grade && { grade }),
              atOldThreshold: { tar, far, tpir, fpir },
              threshold,
              atThreshold,
              calibration: chosen && jsonOf(chosen.calibration),
              calibratedThreshold: chosen && finite(calibrateOne(chosen.calibration, threshold.value)),
              heldOutLogLoss: chosen?.heldOut ?? null,
            },
          ];
        }),
      };
    }),
  };
}

const finite = (x: number): number | null => (Number.isFinite(x) ? x : null);

const jsonOf = (calibration: Calibration): ThresholdPair['calibration'] =>
  calibration.kind === 'platt'
    ? calibration
    : { ...calibration, scores: [...calibration.scores], logOdds: [...calibration.logOdds] };

/** Reads a file of `mixbct thresholds`. @throws FileError if it is missing or damaged: names the first wrong field. */
export function readThresholds(path: string): Thresholds {
  const again = 'write it again with: mixbct thresholds';
  const result = thresholdsSchema.safeParse(readJson(path, again));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new FileError(path, `"${issue!.path.join('.')}" is damaged (${issue!.message})`, again);
}

/** A model by its name in the evaluation, or by its digest. */
type ModelKey = { readonly name: string } | { readonly digest: string };

/** What tells adapters apart. */
type AdapterKey = Pick<CrossingAdapter, 'direction' | 'method' | 'digest'>;
const keyOf = ({ direction, method, digest }: AdapterKey): AdapterKey => ({ direction, method, digest });

/** Queries of one model on a gallery of another. */
type PairKey = {
  readonly query: ModelKey;
  readonly gallery: ModelKey;
  /** The adapter between both; absent: queries meet the gallery as they are. A query that is named stands for its adapter, too. */
  readonly adapter?: AdapterKey | null | undefined;
};

/** What is known of such queries on such a gallery, in the last evaluation that judges it, else in the last that has both (of an oracle, say). */
export function pairOf({ evaluations }: Thresholds, { query, gallery, adapter }: PairKey): ThresholdPair | undefined {
  const is = (key: ModelKey, name: string, digest: string | undefined): boolean =>
    'name' in key ? key.name === name : key.digest === digest;
  const isThrough = (other: AdapterKey | undefined): boolean =>
    adapter && other ? isDeepStrictEqual(keyOf(adapter), keyOf(other)) : !adapter && !other;
  const found = evaluations
    .flatMap(({ pairs }) => pairs)
    .filter(
      (pair) =>
        is(query, pair.query, pair.projection ?? pair.queryModel) &&
        is(gallery, pair.gallery, pair.galleryModel) &&
        ('name' in query || isThrough(pair.adapter)),
    );
  return found.findLast(({ grade }) => grade !== undefined) ?? found.at(-1);
}

/** Whether an evaluation found that a new model's queries can search the old gallery, above the threshold of the pair. */
export const allowsSearch = ({ grade }: ThresholdPair): boolean => grade === 'drop-in' || grade === 'new threshold';
