import { join } from 'node:path';
import { checkedByShape, defineArtifact } from '../artifacts/define-artifact.ts';
import { readJson } from '../artifacts/json-file.ts';
import { FileError } from '../base/errors.ts';
import { Choice, Nullable, Optional, type Shape, shapeMismatch } from '../base/shape.ts';
import { calibrationShape } from './calibration.ts';
import type { Evaluation } from './evaluation.ts';

/** JSON has no NaN and no infinity, so they are written as null. */
const numberOrNull = new Nullable(0);
const estimate = { value: numberOrNull, low: numberOrNull, high: numberOrNull };
const interval = new Nullable(estimate);
const rankRate = { rank: 0, rate: numberOrNull };
const fpirRate = { fpir: 0, rate: numberOrNull };

const band = new Optional({ x: [0], low: [numberOrNull], high: [numberOrNull] });
const change = { count: 0, share: estimate };
const changedSearches: Shape = [{ query: 0, right: 0, wrong: 0, oldRank: numberOrNull, newRank: numberOrNull }];
const changedPairs: Shape = [{ query: 0, gallery: 0, oldScore: numberOrNull, newScore: numberOrNull }];
const decisions: Shape = {
  pairs: 0,
  repaired: change,
  broken: change,
  examples: { repaired: changedPairs, broken: changedPairs },
};
const changes: Shape = {
  searches: new Optional({
    searches: 0,
    repaired: change,
    broken: change,
    worstClasses: [{ label: 0, searches: 0, repaired: 0, broken: 0 }],
    examples: { repaired: changedSearches, broken: changedSearches },
  }),
  pairs: new Optional({
    far: new Optional(0),
    oldThreshold: numberOrNull,
    newThreshold: numberOrNull,
    genuine: decisions,
    impostor: new Optional(decisions),
  }),
};
const points: Shape = [[0]];
const map: Shape = { explained: numberOrNull, classes: [{ label: 0, images: [0], gallery: points, query: points }] };

const verification: Shape = {
  auc: numberOrNull,
  eer: numberOrNull,
  tar: [{ far: 0, nearest: numberOrNull, atMost: numberOrNull, threshold: new Optional(numberOrNull), interval }],
  curve: { far: [numberOrNull], tar: [numberOrNull] },
  band,
};
const identification: Shape = {
  ranks: [{ ...rankRate, interval }],
  tpir: [{ ...fpirRate, interval }],
  curve: { fpir: [numberOrNull], tpir: [numberOrNull] },
  cmc: new Optional({ rank: [numberOrNull], rate: [numberOrNull] }),
  band,
  cmcBand: band,
  galleries: new Optional([{ name: '', ranks: [rankRate], tpir: [fpirRate] }]),
  mixed: new Optional([rankRate]),
};

const rates = { tar: estimate, tpir: estimate, fpir: estimate };
const operatingPoint: Shape = {
  atOldThreshold: { ...rates, far: estimate, falseAccepts: 0 },
  keepingFar: { ...rates, threshold: estimate },
  calibration: new Nullable({
    calibration: calibrationShape,
    heldOut: new Nullable({ platt: 0, isotonic: 0 }),
  }),
};

/** The fields that reports need. Fields of later versions are kept. */
const evaluationShape: Shape = {
  title: '',
  dataset: { path: '', digest: '', images: 0, classes: 0, families: numberOrNull },
  protocol: {
    name: new Optional(''),
    seed: 0,
    genuinePairs: 0,
    impostorPairs: 0,
    allImpostors: false,
    probes: 0,
    galleries: [0],
    identities: new Optional(0),
    resamples: 0,
  },
  models: [
    {
      name: '',
      role: new Choice('old', 'oracle', 'new'),
      dim: 0,
      digest: new Optional(''),
      preset: new Optional(''),
      differences: new Optional(['']),
      trainingData: new Optional({
        relation: new Choice('same', 'overlapping', 'disjoint', 'unknown'),
        sharedClasses: new Optional(0),
        images: new Optional(new Choice('shared', 'different')),
        comparedBy: new Optional(new Choice('digest', 'origin', 'names')),
        path: new Optional(''),
      }),
      adapter: new Optional({
        direction: new Choice('query', 'gallery'),
        method: '',
        digest: '',
        images: new Optional(new Choice('shared')),
      }),
      projection: new Optional(''),
    },
  ],
  operatingPoint: new Optional({ far: 0, threshold: numberOrNull }),
  tests: [
    {
      query: '',
      gallery: '',
      verification: new Nullable(verification),
      identification: new Nullable(identification),
      operatingPoint: new Optional(operatingPoint),
      metrics: new Optional([{ name: '', value: numberOrNull, interval }]),
      judged: new Optional([{ metric: '', value: estimate, overOld: estimate }]),
      scores: new Optional({ from: 0, step: 0, genuine: [0], impostor: [0] }),
      map: new Optional(map),
    },
  ],
  candidates: [
    {
      name: '',
      withheld: new Optional({
        reason: new Choice('trial', 'training images', 'too few identities'),
        identities: new Optional(0),
        needed: new Optional(0),
      }),
      dropIn: new Optional({
        grade: new Choice('drop-in', 'new threshold', 'no', 'withheld'),
        tarDifference: estimate,
        farDifference: estimate,
        falseAccepts: 0,
        ownThresholdDifference: estimate,
      }),
      changes: new Optional(changes),
      comparisons: [
        {
          metric: '',
          oldOld: numberOrNull,
          newOld: numberOrNull,
          newNew: numberOrNull,
          oracle: numberOrNull,
          difference: estimate,
          criterion: new Choice('met', 'undecided', 'missed', 'withheld'),
          updateGain: interval,
          tax: interval,
          scores: new Nullable({ up: numberOrNull, comp: numberOrNull, one: numberOrNull }),
        },
      ],
    },
  ],
};

export const EVALUATION_FILE = 'evaluation.json';

export const evaluationArtifact = defineArtifact({
  kind: 'evaluation',
  name: 'an evaluation',
  command: 'mixbct evaluate',
  /** Digest of the old model's features, or of the templates' images; the evaluation itself is a file beside the manifest. */
  check: checkedByShape<{ readonly seed: number; readonly old?: string; readonly data?: string }>({
    seed: 0,
    old: new Optional(''),
    data: new Optional(''),
  }),
  describe: ({ seed, old }, path) => {
    const { title, dataset, protocol, models, candidates } = readEvaluation(path);
    const verdicts = candidates.map(({ name, comparisons, dropIn }) => [
      name,
      [
        ...comparisons.map(({ metric, criterion }) => `${metric} ${criterion}`),
        ...(dropIn ? [`drop-in test: ${dropIn.grade}`] : []),
      ].join(', '),
    ]);
    return {
      facts: {
        title,
        ...(protocol.name !== undefined && { protocol: protocol.name }),
        data: `${dataset.images} images, ${dataset.classes} classes`,
        models: models.map(({ name, role, dim }) => `${name} (${role}, ${dim} dimensions)`).join(', '),
        ...Object.fromEntries(verdicts),
        seed,
      },
      sources: [
        ...(old === undefined ? [] : [{ kind: 'features', digest: old, name: 'old' }]),
        { kind: protocol.name === undefined ? 'dataset' : 'file', path: dataset.path, digest: dataset.digest },
      ],
    };
  },
});

/** Reads the evaluation in a folder. @throws FileError if there is none, or it is damaged: names the first wrong field. */
export function readEvaluation(folder: string): Evaluation {
  const { command, again } = evaluationArtifact;
  const file = join(folder, EVALUATION_FILE);
  const raw = readJson(file, `make one with: ${command}`) as { kind?: unknown; version?: unknown } | null;
  if (raw?.kind !== 'evaluation' || raw.version !== 1)
    throw new FileError(file, 'is no evaluation of this version', again);
  const problem = shapeMismatch(raw, evaluationShape);
  if (problem) throw new FileError(file, `its ${problem}`, again);
  return raw as unknown as Evaluation;
}
